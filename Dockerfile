# The image of one component, from one recipe for all three:
#
#     docker build --build-arg COMPONENT=ingest -t registry.example/forebay-ingest:0.1.0 .
#
# COMPONENT is operator, ingest or worker; each image has the component's own dependencies alone, as uv.lock fixes them.
# BASE_IMAGE is any image with Python 3.11 or newer as python3, its venv module and the certificates of authorities. Nothing in
# the image is written to at run time, no shell is needed, and the user is a number, so that Kubernetes can see it is not root.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS build
ARG COMPONENT
ARG UV_VERSION=0.13.9
# The base's certificates, not uv's own: those of a company's proxy are among them.
ENV UV_SYSTEM_CERTS=true \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=true \
    UV_COMPILE_BYTECODE=true \
    UV_PROJECT_ENVIRONMENT=/opt/forebay
RUN python3 -m venv /uv && /uv/bin/pip install --quiet --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /source
# Dependencies first: they change less often than the code, and stay a layer of their own.
COPY pyproject.toml uv.lock ./
COPY core/pyproject.toml core/
COPY operator/pyproject.toml operator/
COPY ingest/pyproject.toml ingest/
COPY worker/pyproject.toml worker/
COPY cli/pyproject.toml cli/
COPY tools/without_symbols.py tools/
# Sources and debuggers' symbols of C extensions, and tests of the dependencies, are of no use to anybody here.
RUN /uv/bin/uv sync --quiet --locked --no-dev --no-install-workspace --package "forebay-${COMPONENT}" \
    && find /opt/forebay -name '*.pyx' -delete -o -name '*.pxd' -delete -o -name '*.pxi' -delete \
    && find /opt/forebay -path '*/site-packages/*' -type d -name tests -prune -exec rm -rf {} + \
    && python3 tools/without_symbols.py /opt/forebay >/dev/null
COPY core/src core/src
COPY operator/src operator/src
COPY ingest/src ingest/src
COPY worker/src worker/src
RUN /uv/bin/uv sync --quiet --locked --no-dev --no-editable --package "forebay-${COMPONENT}" \
    && ln -s "forebay-${COMPONENT}" /opt/forebay/bin/component

FROM ${BASE_IMAGE}
ARG COMPONENT
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="forebay-${COMPONENT}" \
      org.opencontainers.image.description="Forebay's ${COMPONENT}" \
      org.opencontainers.image.source="https://github.com/forebay/forebay" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /opt/forebay /opt/forebay
ENV PATH=/opt/forebay/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/opt/forebay/bin/component"]
