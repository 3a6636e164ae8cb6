"""What a process does with the memory that its tensors have freed."""

import ctypes

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
"""Of glibc's malloc.h."""


def keep_freed() -> None:
    """Let the C library keep freed memory for the next tensors, as torch does on a GPU.

    Left alone, glibc gives large tensors back to the system, which clears every page of the next
    ones: a step of MobileNetV2 took up to 1.4 times as long. The process stays as large as it was
    at its peak. Other C libraries are left as they are.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_MMAP_MAX, 0)
        set_option(M_TRIM_THRESHOLD, 2**31 - 1)
