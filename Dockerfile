# The image of Tidegate: one static program, trusted roots, and nothing else.
#
#     docker build -t tidegate:0.1.0 .
#     buildah build --isolation chroot --layers -t tidegate:0.1.0 .
#     scripts/image --help        # builds it, runs it and sends traffic through it
#
# The last stage takes whatever the stage `binaries` has, and that stage can be replaced by a folder. Nothing is compiled then:
#
#     buildah build --isolation chroot --build-context binaries=FOLDER -t tidegate:0.1.0 .
#
# FOLDER is the root of the image: `tidegate`, `etc/ssl/certs/ca-certificates.crt`, `etc/nsswitch.conf`, the empty folder
# `var/lib/tidegate/acme`, and for a program that is not static its libraries in their places. `scripts/image --files FOLDER
# PROGRAM` makes it. `docker build` takes the same option.
#
# Another architecture is cross-compiled on this machine, not emulated:
#
#     docker build --platform linux/arm64 .
#     buildah build --isolation chroot --platform linux/arm64 --build-arg BUILDPLATFORM=linux/amd64 .
#
# buildah 1.28 has to be told the platform that it runs on; later versions know it, as docker does.

ARG RUST_IMAGE=rust:1.95-bookworm

# ---- The program ----------------------------------------------------------------------------------------------------
FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS build
# amd64 or arm64: the builder sets it from --platform.
ARG TARGETARCH
# A target of rustc instead, such as aarch64-unknown-linux-gnu.
ARG TARGET=
WORKDIR /build

# What cargo is called with. `crt-static` applies to the target alone, because one is named: build scripts and macros are
# linked as usual.
RUN set -eu; \
    case "${TARGET:-${TARGETARCH:-$(uname -m)}}" in \
        amd64 | x86_64) target=x86_64-unknown-linux-gnu packages="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;; \
        arm64 | aarch64) target=aarch64-unknown-linux-gnu packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
        *-*-*) target=$TARGET packages="" ;; \
        *) echo "no target of rustc is known for ${TARGETARCH}; name one with --build-arg TARGET=" >&2; exit 1 ;; \
    esac; \
    printf 'export CARGO_BUILD_TARGET=%s RUSTFLAGS="-C target-feature=+crt-static"\n' "$target" >env; \
    [ "$target" != "$(rustc -vV | sed -n 's/^host: //p')" ] || exit 0; \
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || rustup target add "$target"; \
    compiler=${target%%-*}-linux-gnu-gcc; \
    printf 'export CC_%s=%s CARGO_TARGET_%s_LINKER=%s\n' \
        "$(echo "$target" | tr - _)" "$compiler" "$(echo "$target" | tr a-z- A-Z_)" "$compiler" >>env; \
    command -v "$compiler" >/dev/null || { \
        apt-get update -qq; \
        apt-get install -qq --no-install-recommends $packages; \
        rm -rf /var/lib/apt/lists/*; \
    }

# Dependencies, in a layer of their own: it is built again only when one of these two files changes.
COPY Cargo.toml Cargo.lock ./
RUN set -eu; . ./env; \
    mkdir -p src examples/demo benches/relay; \
    for main in src/main.rs examples/demo/main.rs benches/relay/main.rs; do echo 'fn main() {}' >"$main"; done; \
    : >src/lib.rs; \
    cargo build --locked --profile dist --bin tidegate; \
    rm -rf src

COPY src src
COPY client/embedded client/embedded
# Newer than what was built from the empty files.
RUN set -eu; . ./env; \
    find src -name '*.rs' -exec touch {} +; \
    cargo build --locked --profile dist --bin tidegate; \
    mkdir -p /files/etc/ssl/certs /files/var/lib/tidegate/acme; \
    cp "target/$CARGO_BUILD_TARGET/dist/tidegate" /files/tidegate; \
    cp /etc/ssl/certs/ca-certificates.crt /files/etc/ssl/certs/; \
    echo 'hosts: files dns' >/files/etc/nsswitch.conf

# ---- What the image has ---------------------------------------------------------------------------------------------
FROM scratch AS binaries
COPY --from=build /files /

FROM scratch
COPY --from=binaries / /
# The one place where it writes, and only with `[tls.acme]`: mount a volume here, and the root can be read-only.
COPY --from=binaries --chown=65532:65532 /var/lib/tidegate /var/lib/tidegate

USER 65532:65532
# 8443: clients, as in docs/kubernetes.md. 9464: health, metrics, status.
EXPOSE 8443 9464
ENTRYPOINT ["/tidegate"]
# Reads /etc/tidegate/tidegate.toml.
CMD ["run"]
STOPSIGNAL SIGTERM

ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Tidegate" \
      org.opencontainers.image.description="A gate in front of a Socket.IO or WebSocket service: authentication, rate limits, metrics, orderly shutdown" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
