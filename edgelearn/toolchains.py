"""Cross compilers and emulators, one row for each architecture, known by the prefix of the compiler's name."""

from __future__ import annotations

from dataclasses import dataclass

INSTALL = "sudo apt-get install"


@dataclass(frozen=True)
class Toolchain:
    """What builds images for one architecture, and what runs them where there is no board."""

    prefix: str  # of the compiler's name: "arm-none-eabi-"
    packages: str  # Debian's, of compiler and C library
    specs: tuple[str, ...]  # which C library, said to compiler and linker
    callgraph: bool  # does the compiler write call graphs? without them the stack has no bound
    frame: int  # bytes that the hardware pushes for an interrupt
    fpu_frame: int  # the same with an FPU's registers
    emulator: str
    emulator_package: str
    boot: str  # the emulator's option that takes the image

    @property
    def install(self) -> str:
        """The line that installs compiler and C library."""
        return f"{INSTALL} {self.packages}"

    @property
    def install_emulator(self) -> str:
        """The line that installs the emulator."""
        return f"{INSTALL} {self.emulator_package}"


TOOLCHAINS = {
    row.prefix: row
    for row in (
        Toolchain(
            # 8 or 26 words, and one to align the stack
            "arm-none-eabi-", "gcc-arm-none-eabi libnewlib-arm-none-eabi", ("--specs=nano.specs",), True,
            36, 108, "qemu-system-arm", "qemu-system-arm", "-kernel",
        ),
        Toolchain(
            "riscv64-unknown-elf-", "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
            ("--specs=picolibc.specs",), True, 0, 0, "qemu-system-riscv32", "qemu-system-misc", "-kernel",
        ),
        # gcc 5.4, Debian's, is older than -fcallgraph-info.
        Toolchain("avr-", "gcc-avr avr-libc", (), False, 0, 0, "qemu-system-avr", "qemu-system-misc", "-bios"),
    )
}  # fmt: skip


def install_emulator(program: str) -> str:
    """The line that installs an emulator, by the program's name."""
    known = {row.emulator: row.install_emulator for row in TOOLCHAINS.values()}
    return known.get(program, f"{INSTALL} qemu-system")
