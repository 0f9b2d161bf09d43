"""Pickles of dicts, lists, numbers, text and NumPy arrays, read without running anything.

A pickle is a program that may call whatever it names. Here it is only parsed: it can build what is
listed below, and the two calls that NumPy's arrays and scalars are made of stay data.
"""

import pickletools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from symskip_jax.errors import UserError

_ALLOWED = {
    f"{module} {name}"
    for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct", "scalar", "ndarray", "dtype")
} | {"_codecs encode"}

# The types that the arrays may have, by NumPy's names for them.
_DTYPES = ("u1", "i1", "i2", "i4", "i8", "u2", "u4", "u8")


class _Global(NamedTuple):
    name: str


class _Call:
    def __init__(self, function: str, arguments: tuple[Any, ...]):
        self.function, self.arguments = function, arguments
        self.state: Any = None


class _Mark:
    pass


def read_pickle(content: bytes, name: str) -> Any:
    """Read a pickle, of Python 2 or 3, without running anything that it asks for.

    Args:
        content: the pickle.
        name: of the file, for messages.

    Returns:
        dicts, lists, tuples, numbers, None, str and arrays; the byte strings of Python 2 are str,
        a character a byte.

    Raises:
        UserError: it is cut short or damaged, or asks for anything else than the above.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in text that are none
            return _resolve(_run(content, name), 3)
    except (
        *(ValueError, TypeError, LookupError, AttributeError, OverflowError),
        RecursionError,
    ) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{name} is truncated or damaged: copy it again ({reason})") from error


def _run(content: bytes, name: str) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("PROTO", "FRAME"):
            continue
        if opcode.name == "STOP":
            return stack.pop()
        if opcode.name in _PUSH_ARGUMENT:
            stack.append(argument)
        elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(argument)] = stack[-1]
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument)])
        elif opcode.name == "GLOBAL":
            stack.append(_allowed(argument, name))
        elif opcode.name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            asked = f"{_expect(module, str)} {_expect(attribute, str)}"
            stack.append(_allowed(asked, name))
        elif opcode.name in _ACTIONS:
            _ACTIONS[opcode.name](stack)
        else:
            raise UserError(f"{name} is refused: it is a pickle with {opcode.name} in it")
    raise ValueError("it has no end")


def _allowed(asked: str, name: str) -> _Global:
    if asked not in _ALLOWED:
        raise UserError(
            f"{name} is refused: it is a pickle that asks for '{asked.replace(' ', '.')}', and "
            "only arrays are read from pickles"
        )
    return _Global(asked.split(" ")[1])


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    start = max(i for i, item in enumerate(stack) if isinstance(item, _Mark))
    items = stack[start + 1 :]
    del stack[start:]
    return items


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _key(key: Any) -> str | bytes | int:
    # Nothing that is nested: Python does not survive the hash of what is nested very deeply.
    if not isinstance(key, str | bytes | int):
        raise TypeError(f"{type(key).__name__} where a key belongs")
    return key


def _pop_tuple(stack: list[Any], length: int) -> tuple[Any, ...]:
    items = tuple(stack[-length:])
    if len(items) < length:
        raise ValueError("its stack is empty")
    del stack[-length:]
    return items


def _set_item(stack: list[Any]) -> None:
    key, value = _pop_tuple(stack, 2)
    _expect(stack[-1], dict)[_key(key)] = value


def _call(stack: list[Any]) -> None:
    function, arguments = _pop_tuple(stack, 2)
    stack.append(_Call(_expect(function, _Global).name, _expect(arguments, tuple)))


def _build(stack: list[Any]) -> None:
    state = stack.pop()
    _expect(stack[-1], _Call).state = state


def _append_all(stack: list[Any]) -> None:
    items = _pop_to_mark(stack)
    _expect(stack[-1], list).extend(items)


def _set_all(stack: list[Any]) -> None:
    items = _pop_to_mark(stack)
    _expect(stack[-1], dict).update(_pairs(items))


def _append(stack: list[Any]) -> None:
    item = stack.pop()
    _expect(stack[-1], list).append(item)


_PUSH_ARGUMENT = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}

_ACTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "MARK": lambda stack: stack.append(_Mark()),
    "NONE": lambda stack: stack.append(None),
    "NEWTRUE": lambda stack: stack.append(True),
    "NEWFALSE": lambda stack: stack.append(False),
    "EMPTY_DICT": lambda stack: stack.append({}),
    "EMPTY_LIST": lambda stack: stack.append([]),
    "EMPTY_TUPLE": lambda stack: stack.append(()),
    "DICT": lambda stack: stack.append(_pairs(_pop_to_mark(stack))),
    "LIST": lambda stack: stack.append(_pop_to_mark(stack)),
    "TUPLE": lambda stack: stack.append(tuple(_pop_to_mark(stack))),
    "TUPLE1": lambda stack: stack.append(_pop_tuple(stack, 1)),
    "TUPLE2": lambda stack: stack.append(_pop_tuple(stack, 2)),
    "TUPLE3": lambda stack: stack.append(_pop_tuple(stack, 3)),
    "APPEND": _append,
    "APPENDS": _append_all,
    "SETITEM": _set_item,
    "SETITEMS": _set_all,
    "REDUCE": _call,
    "BUILD": _build,
    "POP": lambda stack: stack.pop(),
}


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} where {kind.__name__} belongs")
    return value


def _resolve(value: Any, depth: int) -> Any:
    """Turn the calls into arrays and byte strings; deeper than `depth` nothing can be."""
    if not depth:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        return {_text(key): _resolve(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if not any(isinstance(item, dict | list | tuple | _Call) for item in value):
            return value
        return [_resolve(item, depth - 1) for item in value]
    if isinstance(value, _Global | _Mark):
        raise ValueError("it is not data alone")
    if not isinstance(value, _Call):
        return value
    if value.function == "_reconstruct":
        return _array(value)
    if value.function == "scalar":
        dtype, content = value.arguments
        return np.frombuffer(_bytes(content), _dtype(dtype), count=1)[0]
    if value.function == "encode":
        return _bytes(value)
    raise ValueError(f"a {value.function} is no data")


def _array(call: _Call) -> np.ndarray:
    _, shape, dtype, is_fortran, content = call.state
    if not isinstance(shape, tuple) or not all(isinstance(it, int) and it >= 0 for it in shape):
        raise ValueError("the shape of an array is none")
    flat = np.frombuffer(_bytes(content), _dtype(dtype))
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _dtype(call: Any) -> np.dtype:
    code = _expect(_expect(call, _Call).arguments[0], str)
    if call.function != "dtype" or code not in _DTYPES:
        raise ValueError(f"arrays of {code!r} are not read")
    byte_order = call.state[1] if call.state else "|"
    return np.dtype(code).newbyteorder(_expect(byte_order, str))


def _bytes(value: Any) -> bytes:
    if isinstance(value, _Call) and value.function == "encode":
        value = value.arguments[0]
    return value if isinstance(value, bytes) else _expect(value, str).encode("latin-1")


def _text(key: Any) -> Any:
    return key.decode("latin-1") if isinstance(key, bytes) else key
