# The worker's image: a virtual environment pinned by hashes on a slim base, run by nobody in particular.
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /source
COPY requirements-build.lock requirements.lock ./
RUN python -m venv /build \
    && /build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements-build.lock \
    && python -m venv --without-pip /opt/tidegate \
    && /build/bin/pip --python /opt/tidegate/bin/python install --no-cache-dir --require-hashes --only-binary :all: \
        -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY migrations migrations
RUN /build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheels . \
    && /build/bin/pip --python /opt/tidegate/bin/python install --no-deps --no-index /wheels/tidegate-*.whl

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Tidegate" org.opencontainers.image.licenses="Apache-2.0"
# What is never installed into needs nothing to install with.
RUN python -m pip uninstall --yes pip \
    && python -c "import ensurepip, shutil; shutil.rmtree(*ensurepip.__path__)"
COPY --from=build /opt/tidegate /opt/tidegate
# Nothing is written below the root: byte code was compiled when the packages were installed.
ENV PATH=/opt/tidegate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TIDEGATE_HTTP_HOST=0.0.0.0
USER 65532:65532
WORKDIR /
EXPOSE 8017
# Healthy means ready: the schema is what this worker was asked for. Until then it counts as starting, so that no
# migration of a day or less makes it unhealthy. A worker that listens everywhere answers itself, too.
HEALTHCHECK --interval=5s --timeout=3s --start-period=24h --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection(os.environ.get('TIDEGATE_HTTP_HOST') or '127.0.0.1', int(os.environ.get('TIDEGATE_HTTP_PORT') or 8017), timeout=2); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["tidegate"]
CMD ["run"]
