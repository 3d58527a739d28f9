# Everyday commands; each is a short call of tools/ or of a CMake preset, which can be used directly as well.
.DEFAULT_GOAL := help
.PHONY: help run setup build model test check install clean
SHELL := /bin/bash

PRESET ?= cpu
PREFIX ?= /usr/local
TP ?= 2
export PROMPT ?= What is the capital of France?
TANDEM := build/$(PRESET)/src/cli/tandem
export CTEST_PARALLEL_LEVEL ?= $(shell nproc)

help:  ## this list
	@echo "make TARGET [PRESET=cpu|cuda|asan|tsan|release]"
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

run: build  ## set up, build, fetch a small model, answer PROMPT="..." with TP=2 ranks
	@tools/setup model
	@model="$$(tools/fetch-model)" && "$(TANDEM)" run "$$model" --tp "$(TP)" -p "$$PROMPT"

setup:  ## install the packages that building, testing and checking need (apt, only what is missing)
	@tools/setup build model test lint

build:  ## set up and build: build/PRESET/src/cli/tandem
	@tools/setup build $(if $(filter release,$(PRESET)),,test)
	@cmake --preset "$(PRESET)"
	@cmake --build --preset "$(PRESET)"

model:  ## fetch the small model (98 MB, cached) and print its path
	@tools/setup model
	@tools/fetch-model

test:  ## build, then run all tests that need no GPU
	@$(if $(filter release fuzz,$(PRESET)),echo "make: the preset $(PRESET) has no tests" >&2; exit 2,:)
	@$(MAKE) --no-print-directory build
	@ctest --preset "$(PRESET)"

check:  ## style: format, includes, names (tools/dev check)
	@tools/setup lint
	@tools/dev check

install:  ## optimised build into PREFIX=/usr/local: the program, libtandem and its CMake package
	@$(MAKE) --no-print-directory build PRESET=release
	@cmake --install build/release --prefix "$(PREFIX)" --strip

clean:  ## remove build/
	rm -rf build
