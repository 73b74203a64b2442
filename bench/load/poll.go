package main

import (
	"errors"
	"io"
	"net/netip"
	"syscall"
	"time"
)

// One thread, one epoll, non-blocking sockets: the cheapest way to drive thousands of connections, so that the cores
// belong to what is measured.

type poll struct {
	fd     int
	events []syscall.EpollEvent
}

func newPoll() (*poll, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	return &poll{fd: fd, events: make([]syscall.EpollEvent, 512)}, err
}

const edges = syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | 1<<31 // EPOLLET does not fit a signed constant

// add watches a socket for every change of what it can do.
func (p *poll) add(fd int) error {
	return syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: edges, Fd: int32(fd)})
}

// wait gives the sockets that changed within the time.
func (p *poll) wait(limit time.Duration) ([]syscall.EpollEvent, error) {
	n, err := syscall.EpollWait(p.fd, p.events, int(limit.Milliseconds())+1)
	if errors.Is(err, syscall.EINTR) {
		return nil, nil
	}
	return p.events[:max(n, 0)], err
}

func (p *poll) close() { syscall.Close(p.fd) }

// dial starts to connect; the socket is writable once that has ended, well or not.
func dial(address netip.AddrPort) (int, error) {
	fd, err := newSocket()
	if err != nil {
		return -1, err
	}
	err = syscall.Connect(fd, sockaddr(address))
	if err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// listen opens a listening socket and tells its address.
func listen(address netip.AddrPort) (int, netip.AddrPort, error) {
	fd, err := newSocket()
	if err != nil {
		return -1, address, err
	}
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err := syscall.Bind(fd, sockaddr(address)); err != nil {
		return -1, address, err
	}
	if err := syscall.Listen(fd, 4096); err != nil {
		return -1, address, err
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		return -1, address, err
	}
	return fd, netip.AddrPortFrom(address.Addr(), uint16(bound.(*syscall.SockaddrInet4).Port)), nil
}

func newSocket() (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	return fd, err
}

func sockaddr(address netip.AddrPort) *syscall.SockaddrInet4 {
	return &syscall.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}
}

// connectError is how a connection attempt ended; nil if well.
func connectError(fd int) error {
	code, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err != nil {
		return err
	}
	if code != 0 {
		return syscall.Errno(code)
	}
	return nil
}

// gone says that the peer will send no more: what it sent before must be read up to the end of file now, because no
// further edge will tell of it.
func gone(event syscall.EpollEvent) bool {
	return event.Events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0
}

// fill reads once into the free room behind data, which grows when there is none. more is false when the kernel has
// nothing left for now. The end of file is io.EOF.
func fill(fd int, data []byte) (filled []byte, more bool, err error) {
	if len(data) == cap(data) {
		data = append(data, 0)[:len(data)]
	}
	room := data[len(data):cap(data)]
	n, err := syscall.Read(fd, room)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return data, false, nil
	case err != nil:
		return data, false, err
	case n == 0:
		return data, false, io.EOF
	}
	return data[:len(data)+n], n == len(room), nil
}

// threadCPU is the CPU time of the calling thread.
func threadCPU() time.Duration {
	var usage syscall.Rusage
	const rusageThread = 1
	if syscall.Getrusage(rusageThread, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
