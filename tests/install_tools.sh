#!/bin/sh
# Installs the emulators, cross compilers, browser and fuzzing compiler that the tests use, where that needs no password; else says what to type.
set -eu
arm="qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi"
riscv="gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf"
avr="gcc-avr avr-libc arduino-core-avr"
big="gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user" # a machine of the other byte order
# chromium looks at the pages of `edgelearn report`, clang feeds the fuzzers.
packages="$arm $riscv $avr $big qemu-system-misc chromium fonts-dejavu-core clang"

all_here() {
  for tool in qemu-system-arm qemu-system-riscv32 qemu-system-avr \
    arm-none-eabi-gcc riscv64-unknown-elf-gcc avr-gcc s390x-linux-gnu-gcc qemu-s390x chromium clang; do
    command -v "$tool" >/dev/null || return 1
  done
  [ -d /usr/share/arduino/hardware/arduino/avr ] || [ ! -d /var/lib/dpkg ]
}
if all_here; then exit 0; fi

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
