"""An S3 server of a test's own: versitygw on a folder, on loopback."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from forebay import settings
from forebay_cli.ports import free_port

ACCESS, SECRET = "test-access", "test-secret"
CREDENTIALS = f"[default]\naws_access_key_id={ACCESS}\naws_secret_access_key={SECRET}\n".encode()
BUCKET = "webhooks"


@dataclass(frozen=True, slots=True)
class Gateway:
    """The server; its bucket is a folder."""

    port: int
    bucket: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def objects(self) -> list[Path]:
        """What is in the bucket, whole objects only. Folders may go while somebody looks, with their last object."""
        found = (Path(folder) / name for folder, _, names in os.walk(self.bucket) for name in names)
        return sorted(path for path in found if ".sgwtmp" not in path.parts)


def s3(endpoint: str, **changes: object) -> settings.Storage:
    """The settings of a storage behind this URL, whose credentials are in secrets/storage/credentials."""
    given = {"bucket": BUCKET, "region": "us-east-1", "credentials_file": "secrets/storage/credentials", **changes}
    return settings.Storage(provider="S3", endpoint=endpoint, **given)  # type: ignore[arg-type]


@asynccontextmanager
async def gateway(program: Path, folder: Path) -> AsyncIterator[Gateway]:
    """A server until the block ends."""
    bucket, port = folder / "s3" / BUCKET, free_port()
    bucket.mkdir(parents=True)
    process = await asyncio.create_subprocess_exec(
        program, "--quiet", "--port", f"127.0.0.1:{port}", "posix", "--sidecar", str(folder), str(bucket.parent),
        env={"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET, "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await _listens(port)
        yield Gateway(port, bucket)
    finally:
        process.terminate()
        await process.wait()


async def _listens(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
