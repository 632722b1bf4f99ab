# xnet: everything a person or CI runs.

CARGO   ?= cargo
PREFIX  ?= /usr/local
DESTDIR ?=
PROFILE ?= release

HOST    := $(shell rustc -vV | sed -n 's/^host: //p')
TARGET  := $(or $(CARGO_TARGET_DIR),target)
OUT     := $(TARGET)/$(HOST)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
# Small release binaries; see docs/decisions/0003-release-link.md.
LINK    := $(if $(filter release,$(PROFILE)),--config .cargo/release.toml)
PLUGINS := $(sort $(basename $(notdir $(wildcard plugins/src/bin/*.rs ipam/src/bin/*.rs))))
BINS    := xnet $(PLUGINS)

# What the tests and benches compare with and look through. Debian's names.
TOOLS     := ip ping nft iptables tcpdump strace conntrack iperf3 dbus-daemon containerd runc busybox ps crun podman bwrap zstd \
             docker-registry skopeo cc qemu-aarch64-static newuidmap pasta slirp4netns
PEERS     := /usr/lib/cni/bridge
PACKAGES  := iproute2 iputils-ping nftables iptables tcpdump strace conntrack iperf3 dbus-daemon containerd runc busybox-static \
             procps crun podman bubblewrap zstd docker-registry skopeo gcc libc6-dev qemu-user-static uidmap passt slirp4netns \
             containernetworking-plugins
# Unpacked, not installed: a newer Go suite, for its nftables back ends, and a firewall daemon.
export XNET_NEWER_GO_DIR  := $(abspath $(TARGET)/newer-go)
export XNET_FIREWALLD_DIR := $(abspath $(TARGET)/firewalld)

# The virtual machine of the tests that need a stock kernel: Debian suite of that kernel (bookworm, trixie, sid).
KERNEL      ?= bookworm
VM_TOOLS    := qemu-system-x86_64 modprobe busybox
VM_PACKAGES := qemu-system-x86 kmod busybox-static

.DEFAULT_GOAL := help
.PHONY: help build run test test-vm vm-shell requirements lint bench install clean deps newer-go firewalld

help: ## This text
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

build: ## Builds every binary into bin/
	@command -v cc >/dev/null || $(MAKE) --no-print-directory deps TOOLS=cc PEERS= PACKAGES="gcc libc6-dev"
	$(CARGO) build --profile $(PROFILE) $(LINK) -p xnet -p xnet-plugins -p xnet-ipam
	@mkdir -p bin
	@for bin in $(BINS); do cp -f $(OUT)/$$bin bin/.$$bin.new && mv -f bin/.$$bin.new bin/$$bin || exit 1; done

run: build ## Runs a container on the default bridge network: address, default route, ping to its gateway
	@$(MAKE) --no-print-directory deps TOOLS="ip ping" PEERS= PACKAGES="iproute2 iputils-ping"
	bin/xnet run --rm -- sh -c 'ip -brief address show dev eth0; ip route show default; \
	    ping -c 1 -W 2 $$(ip route show default | sed "s/.*via \([^ ]*\).*/\1/")'

test: deps newer-go firewalld build ## Runs all tests
	XNET_BIN_DIR=$(CURDIR)/bin $(CARGO) test --workspace
	@$(MAKE) --no-print-directory test-vm

test-vm: newer-go build ## Runs those that need a stock kernel, in a virtual machine (KERNEL=bookworm, trixie or sid)
	-@$(MAKE) --no-print-directory deps TOOLS="$(VM_TOOLS)" PEERS= PACKAGES="$(VM_PACKAGES)"
	@XNET_BIN_DIR=$(CURDIR)/bin CARGO=$(CARGO) tests/vm/run.sh $(KERNEL)

vm-shell: build ## A shell in that machine, among this directory's files
	@$(MAKE) --no-print-directory deps TOOLS="$(VM_TOOLS)" PEERS= PACKAGES="$(VM_PACKAGES)"
	@XNET_BIN_DIR=$(CURDIR)/bin tests/vm/run.sh --shell $(KERNEL)

requirements: ## Writes docs/runner-requirements.md from what the tests say that they show
	XNET_WRITE_REQUIREMENTS=1 $(CARGO) test -q -p xnet-tests --test requirements

lint: ## Formatting, clippy, licences (the last if cargo-deny is there)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; else echo "cargo-deny is not installed: licences not checked"; fi

bench: deps newer-go build ## Times the suite against Debian's Go plugins, side by side
	XNET_BIN_DIR=$(CURDIR)/bin $(CARGO) bench -p xnet-tests

install: build ## Installs: xnet and its link xnet-oci into $(DESTDIR)$(PREFIX)/bin, the plugins into $(DESTDIR)/opt/cni/bin
	install -D -m 0755 bin/xnet $(DESTDIR)$(PREFIX)/bin/xnet
	ln -sf xnet $(DESTDIR)$(PREFIX)/bin/xnet-oci
	@for bin in $(PLUGINS); do install -D -m 0755 bin/$$bin $(DESTDIR)/opt/cni/bin/$$bin || exit 1; done

clean: ## Removes what was built
	$(CARGO) clean
	rm -rf bin

# Debian packages that the tests need, installed once; on other systems, says what is missing.
deps:
	@missing=""; for tool in $(TOOLS); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	for peer in $(PEERS); do test -x $$peer || missing="$$missing $$peer"; done; \
	if [ -n "$$missing" ]; then echo "missing:$$missing"; \
	    if command -v apt-get >/dev/null; then apt-get update -qq && \
	        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGES) >/dev/null; \
	    else echo "please install them (Debian's names: $(PACKAGES))"; exit 1; fi; fi

newer-go:
	@tests/peers/newer-go.sh $(XNET_NEWER_GO_DIR)

firewalld:
	@tests/peers/firewalld.sh $(XNET_FIREWALLD_DIR)
