#!/bin/sh
# Installs the emulators and cross compilers that the tests use, where that needs no password; else says what to type.
set -eu
packages="qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi gcc-avr avr-libc"
if command -v qemu-system-arm >/dev/null && command -v arm-none-eabi-gcc >/dev/null &&
  command -v avr-gcc >/dev/null; then exit 0; fi

as_root=""
if [ "$(id -u)" != 0 ]; then as_root="sudo -n"; fi
if command -v apt-get >/dev/null && { [ -z "$as_root" ] || [ -n "${CI:-}" ] || sudo -n true 2>/dev/null; }; then
  echo "Installing $packages ..."
  $as_root apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $packages >/dev/null
  exit 0
fi
echo "The tests marked 'qemu' (firmware in emulators) will be skipped. To run them, type:"
echo "  sudo apt-get install $packages"
