# syntax=docker/dockerfile:1
# NiDecomp as a BIDS App: docker run --rm -v IN:/in:ro -v OUT:/out IMAGE /in /out group
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
# Versions and hashes of everything, whatever is newer today (make lock). The lock changes less often
# than the code: these layers are kept.
COPY requirements.lock requirements-build.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements-build.lock && \
    pip wheel --no-cache-dir --no-deps --no-build-isolation --require-hashes \
      -r requirements.lock -w /wheels
RUN python -m venv --without-pip /opt/nidecomp && \
    pip --python /opt/nidecomp/bin/python install --no-cache-dir --no-index --no-deps \
      --no-compile /wheels/*.whl && \
    # The libraries' own tests: a tenth of the image.
    find /opt/nidecomp/lib -type d -name tests -prune -exec rm -r {} +
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY tools/compile_ahead.py ./tools/
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index -w /own . && \
    pip --python /opt/nidecomp/bin/python install --no-cache-dir --no-index --no-deps \
      --no-compile /own/*.whl && \
    # Now, because the image may run read-only and as any user: bytecode and machine code.
    python -m compileall -q /opt/nidecomp/lib && \
    mkdir /opt/nidecomp/compiled && \
    /opt/nidecomp/bin/python tools/compile_ahead.py /opt/nidecomp/compiled && \
    chmod -R a+rX /opt/nidecomp

FROM python:3.12-slim-bookworm
ARG VERSION=0.1.0
# git-annex, which --fetch calls, is one of the packages below and needs git. No result depends on it.
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates git && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/nidecomp /opt/nidecomp
# Nothing is written outside /tmp and the folders that are mounted: no HOME, no caches, no bytecode.
ENV PATH=/opt/nidecomp/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp \
    NIDECOMP_COMPILED=/opt/nidecomp/compiled \
    NIDECOMP_CONTAINER_TYPE=docker \
    NIDECOMP_CONTAINER_TAG=nidecomp:${VERSION}
# A login shell (Boutiques uses one) resets PATH.
RUN ln -s /opt/nidecomp/bin/nidecomp /usr/local/bin/nidecomp
LABEL org.opencontainers.image.title="NiDecomp" \
      org.opencontainers.image.description="Group CanICA and dictionary learning on fMRIPrep's outputs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.source="https://github.com/nidecomp/nidecomp" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /tmp
ENTRYPOINT ["nidecomp"]
