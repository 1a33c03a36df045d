# syntax=docker/dockerfile:1
# NiDecomp as a BIDS App: docker run --rm -v IN:/in:ro -v OUT:/out IMAGE /in /out group
FROM python:3.12-slim-bookworm AS build
RUN python -m venv /opt/nidecomp
ENV PATH=/opt/nidecomp/bin:$PATH
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir . && \
    # Compiled now, because the image may run read-only and as any user.
    python -m compileall -q /opt/nidecomp/lib

FROM python:3.12-slim-bookworm
ARG VERSION=0.1.0
COPY --from=build /opt/nidecomp /opt/nidecomp
# Nothing is written outside /tmp and the folders that are mounted: no HOME, no caches, no bytecode.
ENV PATH=/opt/nidecomp/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp \
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
