# Two images from one file:
#   docker build --target controller    -t tandem-controller:0.1.0 .
#   docker build --target node-actuator -t tandem-node-actuator:0.1.0 .
# Both hold Debian's Python and a virtual environment; only the first runs unprivileged.
# Debian's packages are not pinned (DL3008): a rebuild shall bring the security updates.

FROM debian:bookworm-slim AS base
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 ca-certificates \
 && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/tandem/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
      python3-venv python3-dev gcc pkg-config libvirt-dev \
 && rm -rf /var/lib/apt/lists/*
# pip and setuptools stay behind: it installs into a virtual environment that has neither.
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/tandem
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY crds crds
COPY base base
COPY kube kube
COPY controller controller
COPY node-actuator node-actuator
COPY scripts/install-slim scripts/

FROM build AS build-controller
RUN scripts/install-slim controller

FROM build AS build-node-actuator
RUN scripts/install-slim node-actuator

FROM base AS controller
# For hosts with a fence agent (Host spec.fenceAgent): the agents, and what the usual ones call.
# Those of clouds and hypervisors need more: build FROM this image and add what theirs suggest.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends fence-agents ipmitool \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build-controller /opt/tandem /opt/tandem
# This user has no name and no folder; some libraries insist on hearing of one.
ENV HOME=/nonexistent
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["tandem-controller"]
CMD ["run"]

# For hosts that run everything in containers. It acts on the host itself, so it needs the host's
# network and process namespaces, privileges, and these folders of the host: /dev, /run, /sys,
# /etc/drbd.d, /etc/tandem, /lib/modules, /var/lib/tandem, /var/lib/drbd, /var/log/tandem.
# DRBD's kernel module calls tandem-fence-peer on the host, not in here: install that one there.
FROM base AS node-actuator
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends drbd-utils libvirt0 libvirt-clients kmod iproute2 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build-node-actuator /opt/tandem /opt/tandem
ENTRYPOINT ["tandem-actuator"]
CMD ["run"]
