"""Codecs derived from declared records.

A record is a class whose annotations name wire types (`Int`, `Buffer`, `Vector` …). `@wire` makes it a value
object and derives two functions from the annotations, as Python source compiled when it is first wanted:

- `decode(buf, at, end) -> (record, next_at)`: reads one record from `buf[at:end]`; raises WireError. Nothing is
  allocated from a length before the length was checked against the bytes that are there.
- `encode(record) -> bytes`.

Runs of fixed-size fields are fused into one `struct.Struct`. All integers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from corral.base.errors import WireError
from corral.base.records import record

T = TypeVar("T")


class Fixed:
    """A field of fixed size; `code` is its struct format."""

    def __init__(self, code: str) -> None:
        self.code = code


class Sized:
    """A field with a length in front: raw bytes or text.

    null: the Python expression that null (length -1) reads as.
    """

    def __init__(self, text: bool, null: str = "None") -> None:
        self.text = text
        self.null = null


class VectorOf:
    """A counted sequence of one type, possibly null (count -1).

    common: a value that most messages carry; it is recognised by its bytes and shared, not built anew each time.
    """

    def __init__(self, item: object, common: list[Any] | None = None) -> None:
        self.item = item
        self.common = common


Bool = Annotated[bool, Fixed("?")]
Int = Annotated[int, Fixed("i")]
Long = Annotated[int, Fixed("q")]
UString = Annotated[str | None, Sized(text=True)]
Buffer = Annotated[bytes | None, Sized(text=False)]
Path = Annotated[bytes, Sized(text=False, null="b''")]
"""A ustring kept as its UTF-8 bytes; null reads as the empty path, which no operation accepts."""

_INT = struct.Struct(">i")
_WIRE_FIELDS: dict[type, list[tuple[str, object]]] = {}


class _Codecs(dict[type, Any]):
    """One of the two functions of every record that has been asked for it; `make(cls, names)` is its source."""

    def __init__(self, name: str, make: Callable[[type, dict[str, Any]], str]) -> None:
        self._name = name
        self._make = make

    def __missing__(self, cls: type) -> Any:
        names: dict[str, Any] = {"Record": cls, "WireError": WireError, "struct_error": struct.error}
        source = self._make(cls, names)
        exec(compile(source, f"<codec {cls.__name__}>", "exec"), names)  # noqa: S102  # source is ours, from annotations
        self[cls] = made = names[self._name]
        return made


@dataclass_transform(frozen_default=True)
def wire(cls: type[T]) -> type[T]:
    """Declare a wire record and derive its codec."""
    made = record(cls)
    hints = get_type_hints(made, include_extras=True)
    _WIRE_FIELDS[made] = [(name, _kind(hint, name, made)) for name, hint in hints.items()]
    return made


def decoder(cls: type[T]) -> Callable[[bytes, int, int], tuple[T, int]]:
    """Return `decode(buf, at, end) -> (record, next_at)` of a wire record."""
    made: Callable[[bytes, int, int], tuple[T, int]] = _DECODERS[cls]
    return made


def unpacker(cls: type) -> Callable[[bytes, int, int], tuple[Any, ...]]:
    """Return `unpack(buf, at, end) -> (field, …, next_at)` of a wire record, for where a record would be waste."""
    names: dict[str, Any] = {"WireError": WireError, "struct_error": struct.error}
    source = _decoder_source(cls, _WIRE_FIELDS[cls], names, "return {}, at")
    exec(compile(source, f"<unpacker {cls.__name__}>", "exec"), names)  # noqa: S102  # source is ours, as in `wire`
    unpack: Callable[[bytes, int, int], tuple[Any, ...]] = names["decode"]
    return unpack


def encoder(cls: type[T]) -> Callable[[T], bytes]:
    """Return `encode(record) -> bytes` of a wire record."""
    made: Callable[[T], bytes] = _ENCODERS[cls]
    return made


def decode(cls: type[T], buf: bytes, at: int = 0) -> T:
    """Read one record from `buf[at:]`; bytes after it are ignored. Raises WireError."""
    value: T = _DECODERS[cls](buf, at, len(buf))[0]
    return value


def encode(value: object) -> bytes:
    """Write one record."""
    data: bytes = _ENCODERS[type(value)](value)
    return data


def _kind(hint: object, name: str, cls: type) -> object:
    if get_origin(hint) is Annotated:
        for mark in get_args(hint)[1:]:
            if isinstance(mark, Fixed | Sized | VectorOf):
                return mark
    if isinstance(hint, type) and hint in _WIRE_FIELDS:
        return hint
    raise TypeError(f"{cls.__name__}.{name} has no wire type: {hint!r}")


def _decoder_source(
    cls: type, fields: list[tuple[str, object]], names: dict[str, Any], result: str = "return Record({}), at"
) -> str:
    lines: list[str] = []
    args: list[str] = []
    run: list[tuple[str, str]] = []

    def flush() -> None:
        if not run:
            return
        fused = struct.Struct(">" + "".join(code for _, code in run))
        key = f"unpack_{len(names)}"
        names[key] = fused.unpack_from
        targets = ", ".join(var for var, _ in run)
        lines.append(f"{targets}, = {key}(buf, at)")
        lines.append(f"at += {fused.size}")
        run.clear()

    for index, (_, kind) in enumerate(fields):
        var = f"f{index}"
        args.append(var)
        if isinstance(kind, Fixed):
            run.append((var, kind.code))
            continue
        if isinstance(kind, Sized) or (isinstance(kind, VectorOf) and kind.common is None):
            run.append((var, "i"))
        flush()
        _decode_field(var, kind, names, lines)
    flush()
    lines += [f"if at > end: raise WireError('{cls.__name__}: ' + str(at - end) + ' bytes short')"]
    body = "".join(f"        {line}\n" for line in lines)
    return (
        "def decode(buf, at, end):\n    try:\n"
        + body
        + f"    except struct_error as e: raise WireError('{cls.__name__}: truncated') from e\n"
        + f"    {result.format(', '.join(args))}\n"
    )


def _decode_field(var: str, kind: object, names: dict[str, Any], lines: list[str]) -> None:
    if isinstance(kind, Sized):
        text = ".decode('utf-8', 'replace')" if kind.text else ""
        lines.append(f"if {var} >= 0:")
        lines.append(f"    n = at; at += {var}")
        lines.append(f"    if at > end: raise WireError('Unreasonable length = ' + str({var}))")
        lines.append(f"    {var} = buf[n:at]{text}")
        lines.append(f"elif {var} == -1: {var} = {kind.null}")
        lines.append(f"else: raise WireError('Unreasonable length = ' + str({var}))")
    elif isinstance(kind, VectorOf):
        key = f"item_{len(names)}"
        names[key] = _item_decoder(kind.item)
        if kind.common is not None:
            names[f"common_{key}"] = kind.common
            names[f"bytes_{key}"] = known = _encode_vector(kind.common, _item_encoder(kind.item))
            names["unpack_int"] = _INT.unpack_from
            lines.append(f"if buf[at:at + {len(known)}] == bytes_{key}:")
            lines.append(f"    {var} = common_{key}; at += {len(known)}")
            lines.append("else:")
            inner: list[str] = [f"{var}, = unpack_int(buf, at); at += 4"]
            _decode_vector(var, key, inner)
            lines.extend("    " + line for line in inner)
        else:
            _decode_vector(var, key, lines)
    else:
        assert isinstance(kind, type)
        key = f"record_{len(names)}"
        names[key] = _DECODERS[kind]
        lines.append(f"{var}, at = {key}(buf, at, end)")


def _decode_vector(var: str, key: str, lines: list[str]) -> None:
    lines.append(f"if {var} > end - at or {var} < -1: raise WireError('Unreasonable count = ' + str({var}))")
    lines.append(f"if {var} == -1: {var} = None")
    lines.append("else:")
    lines.append("    items = []")
    lines.append(f"    for _ in range({var}):")
    lines.append(f"        item, at = {key}(buf, at, end); items.append(item)")
    lines.append(f"    {var} = items")


def _item_decoder(item: object) -> Callable[[bytes, int, int], tuple[Any, int]]:
    if isinstance(item, type) and item in _WIRE_FIELDS:
        made: Callable[[bytes, int, int], tuple[Any, int]] = _DECODERS[item]
        return made
    mark = get_args(item)[1]
    assert isinstance(mark, Sized), item
    return _decode_text if mark.text else _decode_bytes


def _decode_bytes(buf: bytes, at: int, end: int) -> tuple[bytes, int]:
    n = _INT.unpack_from(buf, at)[0]
    at += 4
    if not 0 <= n <= end - at:
        raise WireError(f"Unreasonable length = {n}")
    return buf[at : at + n], at + n


def _decode_text(buf: bytes, at: int, end: int) -> tuple[str, int]:
    raw, at = _decode_bytes(buf, at, end)
    return raw.decode("utf-8", "replace"), at


def _encoder_source(fields: list[tuple[str, object]], names: dict[str, Any]) -> str:
    lines: list[str] = []
    parts: list[str] = []
    run: list[tuple[str, str]] = []

    def flush() -> None:
        if not run:
            return
        key = f"pack_{len(names)}"
        names[key] = struct.Struct(">" + "".join(code for _, code in run)).pack
        parts.append(f"{key}({', '.join(value for value, _ in run)})")
        run.clear()

    names["encode_vector"] = _encode_vector
    for index, (name, kind) in enumerate(fields):
        var = f"f{index}"
        if isinstance(kind, Fixed):
            run.append((f"r.{name}", kind.code))
        elif isinstance(kind, Sized):
            lines.append(f"{var} = r.{name}")
            if kind.text:
                lines.append(f"if {var} is not None: {var} = {var}.encode('utf-8', 'replace')")
            run.append((f"-1 if {var} is None else len({var})", "i"))
            flush()
            parts.append(f"({var} or b'')")
        elif isinstance(kind, VectorOf):
            flush()
            key = f"item_{len(names)}"
            names[key] = _item_encoder(kind.item)
            if kind.common is None:
                parts.append(f"encode_vector(r.{name}, {key})")
            else:
                names[f"common_{key}"] = kind.common
                names[f"bytes_{key}"] = _encode_vector(kind.common, _item_encoder(kind.item))
                parts.append(f"bytes_{key} if r.{name} is common_{key} else encode_vector(r.{name}, {key})")
        else:
            assert isinstance(kind, type)
            flush()
            key = f"record_{len(names)}"
            names[key] = _ENCODERS[kind]
            parts.append(f"{key}(r.{name})")
    flush()
    body = "".join(f"    {line}\n" for line in lines)
    result = parts[0] if len(parts) == 1 else f"b''.join(({', '.join(parts)}))" if parts else "b''"
    return f"def encode(r):\n{body}    return {result}\n"


def _item_encoder(item: object) -> Callable[[Any], bytes]:
    if isinstance(item, type) and item in _WIRE_FIELDS:
        made: Callable[[Any], bytes] = _ENCODERS[item]
        return made
    mark = get_args(item)[1]
    assert isinstance(mark, Sized), item
    return _encode_text if mark.text else _encode_bytes


def _encode_text(value: str) -> bytes:
    return _encode_bytes(value.encode("utf-8", "replace"))


def _encode_bytes(value: bytes) -> bytes:
    return _INT.pack(len(value)) + value


def _encode_vector(items: list[Any] | None, encode_item: Callable[[Any], bytes]) -> bytes:
    if items is None:
        return b"\xff\xff\xff\xff"
    return b"".join([_INT.pack(len(items)), *map(encode_item, items)])


_DECODERS: Final = _Codecs("decode", lambda cls, names: _decoder_source(cls, _WIRE_FIELDS[cls], names))
_ENCODERS: Final = _Codecs("encode", lambda cls, names: _encoder_source(_WIRE_FIELDS[cls], names))
