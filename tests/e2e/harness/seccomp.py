"""Forbids a system call to a program that is about to be started, as container runtimes do."""
import ctypes
import errno
import struct

IO_URING_SETUP = 425  # the same on all architectures

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def forbid(number, code=errno.EPERM):
    """For Process(prepare=…): makes system call `number` fail with `code`."""
    instructions = ctypes.create_string_buffer(b"".join((
        struct.pack("HBBI", _LOAD_WORD, 0, 0, 0),  # seccomp_data.nr
        struct.pack("HBBI", _JUMP_IF_EQUAL, 0, 1, number),
        struct.pack("HBBI", _RETURN, 0, 0, _ERRNO | code),
        struct.pack("HBBI", _RETURN, 0, 0, _ALLOW))))
    program = _Program(4, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare():
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
                _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
            raise OSError(ctypes.get_errno(), "seccomp")

    prepare.keeps = instructions
    return prepare
