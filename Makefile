# Targets of the project; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
PREFIX ?= /usr/local
BINARY := target/release/onlooker
# Where rustup puts cargo, for shells that were started before it.
export PATH := $(PATH):$(HOME)/.cargo/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help deps build demo test lint kernel-test kernel-matrix install

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

deps: ## Install what is missing to build and test (Debian, Ubuntu)
	@missing=; \
	need() { command -v "$$1" >/dev/null || missing="$$missing $$2"; }; \
	need clang clang; need gcc gcc; need pkg-config pkg-config; \
	need python3 python3; need openssl openssl; need curl curl; \
	compgen -c llvm-strip >/dev/null || missing="$$missing llvm"; \
	[ -e /usr/include/bpf/bpf_helpers.h ] || missing="$$missing libbpf-dev"; \
	[ -e /usr/include/stdio.h ] || missing="$$missing libc6-dev"; \
	[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$$missing ca-certificates"; \
	if [ -n "$$missing" ]; then \
		if ! command -v apt-get >/dev/null; then \
			echo "missing:$$missing (names of Debian packages); install them with this system's package manager" >&2; exit 1; \
		fi; \
		echo "installing:$$missing"; \
		$(SUDO) apt-get update -qq; \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@if ! command -v $(CARGO) >/dev/null; then \
		echo "cargo is missing, and the one of the distribution is too old. Install Rust with:" >&2; \
		echo "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . ~/.cargo/env" >&2; \
		exit 1; \
	fi

build: deps ## Build the release binary, target/release/onlooker
	$(CARGO) build --release

demo: build ## Show the main job on a built-in agent, without an API key
	$(if $(SUDO),sudo -E) $(BINARY) demo

test: deps ## Run the tests that need neither root nor network
	$(CARGO) test --workspace

lint: deps ## Check format and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

kernel-test: deps ## As root: test the probes and the commands against this kernel
	@[ "$$(id -u)" = 0 ] || { echo "the kernel tests need root: sudo -E env PATH=\"\$$PATH\" make kernel-test" >&2; exit 1; }
	@[ -e /sys/kernel/btf/vmlinux ] || { echo "the kernel tests need a kernel with BTF (/sys/kernel/btf/vmlinux)" >&2; exit 1; }
	$(CARGO) test --workspace --test kernel --test capture --test socket --test file --test identity --test lookback
	ONLOOKER_E2E=1 $(CARGO) test --workspace --test e2e --test custom_path

kernel-matrix: ## In qemu: test the probes against other kernels, KERNELS="vmlinuz-5.10 …"
	@python3 tests/kernels/kernels.py $(if $(LOGS),--logs $(LOGS)) $(KERNELS)

install: ## Install the binary to PREFIX/bin (PREFIX=/usr/local)
	@[ -x $(BINARY) ] || { echo "there is no $(BINARY) yet: run make build first" >&2; exit 1; }
	install -D -m 0755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/onlooker
