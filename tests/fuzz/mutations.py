"""Damaged and hostile inputs, made from valid ones; the same seed makes the same ones."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import yaml

NUMBERS = (0, -1, 2**31, 2**63, 2**64, 10**30, 1e308, -1e308, float("nan"), float("inf"), 0.5)
TAGS = (
    "!!python/object/apply:os.system ['echo']",
    "!!python/object/new:os.system ['echo']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/object/apply:pathlib.PosixPath ['/']",
    "!!binary 'a'",
    "!!int x",
    "!!timestamp x",
    "!!set {a, b}",
    "!local x",
)
TEXTS = (
    "${oc.env:HOME}",
    "${seed}",
    "???",
    "&a [*a]",
    "*unknown",
    "&b {<<: *b}",
    "{<<: {name: none}}",
    "{_target_: os.system, command: echo}",
    "{name: none, _target_: os.system}",
    "{name: [none]}",
    "{1: 2, null: 3, [4]: 5}",
    '"two\\nlines \\x1b[2J \\ud800"',
    '"\\UFFFFFFFF"',
    "2001-99-99",
    "2001-01-01",
    "0x_",
    "1:99:99",
    "1:" * 5000 + "1",
    "9" * 5000,
    "1e400",
    "[" * 3000,
    "[" * 3000 + "]" * 3000,
    "{a: " * 3000 + "}" * 3000,
    "- " * 3000,
    "? " * 3000,
    "[" + "1," * 30_000 + "]",
    "[" + "relu," * 10_000 + "]",
    "x" * 50_000,
    "#" * 200_000,
    "&l0 [x, x]\n" + "".join(f"l{i}: &l{i} [{f'*l{i - 1},' * 9}]\n" for i in range(1, 12)),
    "null",
    "true",
    "[]",
    "{}",
    "''",
    "|\n  two\n  lines",
    "\t",
    "\x00",
    "%YAML 9.9",
    "--- 1",
)


def damage(valid: bytes, rng: random.Random) -> bytes:
    """Make one to three random faults: flipped bits, a lost end, noise, wrong numbers, ..."""
    data = bytearray(valid)
    # Half of the faults hit the first bytes, where formats keep their headers.
    for _ in range(rng.randint(1, 3)):
        reach = len(data) if rng.random() < 0.5 else min(len(data), 300)
        start = rng.randrange(reach + 1)
        end = min(len(data), start + rng.randint(1, 64))
        fault = rng.randrange(7)
        if fault == 0 and start < len(data):
            data[start] ^= 1 << rng.randrange(8)
        elif fault == 1:
            del data[start:]
        elif fault == 2:
            data[start:start] = rng.randbytes(rng.randint(1, 16))
        elif fault == 3:
            data[start:start] = data[start:end]
        elif fault == 4:
            data[start:end] = bytes(end - start)
        elif fault == 5:
            del data[start:end]
        else:
            form = rng.choice(("<I", ">I", "<Q", ">Q", "<d"))
            data[start:end] = struct.pack(form, rng.choice((0, 2**31, 2**32 - 1, 1)))
    return bytes(data)


def replace_one(value: Any, rng: random.Random) -> Any:
    """Replace one place of JSON-like content by another type, number, length or depth."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        fault = rng.randrange(12)
        if fault == 0:
            return {k: v for k, v in value.items() if k != key}
        if fault == 1:
            return value | {f"{key}\n": value[key]}
        return value | {key: replace_one(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.5:
        place = rng.randrange(len(value))
        return [*value[:place], replace_one(value[place], rng), *value[place + 1 :]]
    deep: Any = value
    for _ in range(50):
        deep = [deep]
    others: tuple[Any, ...] = (
        *NUMBERS,
        None,
        True,
        "",
        "1",
        "F32",
        [],
        {},
        [value],
        {"a": value},
        [1] * 2000,
        deep,
    )
    return rng.choice((*others, deep, [value], {"a": value}))


def yaml_faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless faults of a YAML mapping of mappings."""
    lines = valid.decode().splitlines()
    while True:
        if rng.random() < 0.4:
            content = replace_one(yaml.safe_load(valid), rng)
            yield yaml.safe_dump(content, sort_keys=False).encode()
        else:
            place = rng.randrange(len(lines))
            key, colon, _ = lines[place].partition(":")
            value = rng.choice(rng.choice((TEXTS, TAGS, [str(n) for n in NUMBERS])))
            yield "\n".join([*lines[:place], f"{key}{colon} {value}", *lines[place + 1 :]]).encode()


def npy_faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless headers that announce other arrays than follow, and pickles."""
    body = valid[10 + struct.unpack("<H", valid[8:10])[0] :]
    shapes = [
        (0, 5), (5, 0), (-1, 5), (-1, -5), (2**62, 4), (2**32, 2**32), (10**30,), (True, 5), 5, (),
        (1,) * 40, (1,) * 70, "x", None, (2.0, 5), (50, 6), [50, 6], (3, 2**40),
    ]  # fmt: skip
    descrs = [
        "|O", "<f4", ">f4", "|V0", "|V8", "<U5", "|S0", "<M8[s]", "<c8", "|b1", "f16", "x", "",
        [("a", "<f4")], [("a", "|O")], [("a", "<f4", (2**31, 2**31))], [("a", "<f4")] * 2, 7, None,
        "(1000000,1000000)f4", "2147483647V", [["a", "<f4"]], ("<f4", (2**31,)), "<f4,<f4", "|u1",
    ]  # fmt: skip
    texts = [
        "(" * 3000, "-" * 4000 + "1", "{'a':" * 800, "[" * 90, "__import__('os').system('echo')",
        "{**{}}", "{'descr': '<f4', 'fortran_order': 1, 'shape': (50, 6)}", "\xff", "", "1" * 5000,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",)}",
    ]  # fmt: skip
    while True:
        fields = {
            "descr": rng.choice(descrs),
            "fortran_order": rng.choice([False, True, 0]),
            "shape": rng.choice(shapes),
        }
        if rng.random() < 0.3:
            fields[rng.choice(("descr", "shape"))] = rng.choice(["<f4", (50, 6)])
        text = repr(fields) if rng.random() < 0.7 else rng.choice(texts)
        version = rng.choice([b"\1\0"] * 4 + [b"\2\0", b"\3\0", b"\4\0", b"\0\0"])
        header = text.encode("latin1") + b"\n"
        length = struct.pack("<H" if version == b"\1\0" else "<I", len(header))
        rest = rng.choice([body, body, b"", pickle.dumps(_Shell()), body + b"x", body * 2])
        yield rng.choice([b"\x93NUMPY"] * 9 + [b""]) + version + length + header + rest


class _Shell:
    """An object whose pickle runs a command when it is loaded."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        import os

        return os.system, ("echo a pickle was loaded",)


def npz_faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless archives of hostile members under hostile names."""
    with zipfile.ZipFile(io.BytesIO(valid)) as archive:
        array = archive.read(archive.namelist()[0])
    arrays = npy_faults(array, rng)
    huge = array.replace(b"(50, 6), }        ", b"(5000000050, 6), }")
    zeros = io.BytesIO()
    np.save(zeros, np.zeros((300, 10_000), np.uint8))
    names = ["x.npy", "x.npy", "x", "../x.npy", "/etc/x.npy", "a\n.npy", "", "x.npy/", "y" * 500]
    while True:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name in dict.fromkeys(rng.sample(names, rng.randint(0, 2))):
                member = rng.choice([array, next(arrays), next(arrays), huge, zeros.getvalue()])
                method = rng.choice(
                    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
                )
                archive.writestr(zipfile.ZipInfo(name), member, method)
        content = packed.getvalue()
        if rng.random() < 0.3:
            # The directory keeps its sizes and flags there (0x01 is encryption).
            at = content.find(b"PK\1\2") + rng.choice([8, 10, 20, 24, 28, 42])
            content = content[:at] + rng.choice([b"\1", b"\xff\xff\xff\x7f"]) + content[at + 1 :]
        yield content


def safetensors_faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless headers whose tensors overlap, lie outside, have other types, or are deep."""
    (length,) = struct.unpack("<Q", valid[:8])
    header, body = json.loads(valid[8 : 8 + length]), valid[8 + length :]
    name = next(key for key in header if key != "__metadata__")
    plain = json.dumps(header)
    dtypes = ['"F4"', '"BOOL"', '"C64"', '"F8_E8M0"', '"BF16"', '"F64"']
    while True:
        text = json.dumps(replace_one(header, rng))
        chance = rng.random()
        if chance < 0.1:
            text = plain[:-1] + f', "{name}": {json.dumps(replace_one(header[name], rng))}}}'
        elif chance < 0.2:
            text = rng.choice(
                ["[" * 9000, '{"a":' * 9000, plain + " " * 99, "", "null", "{}", plain + plain,
                 plain.replace('"F32"', rng.choice(dtypes)),
                 plain.replace("{", '{"x\\ud800":', 1)]
            )  # fmt: skip
        elif chance < 0.5 and "__metadata__" in header:
            ((key, inner),) = header["__metadata__"].items()
            other = rng.choice([json.dumps(replace_one(json.loads(inner), rng)), "[" * 9000])
            text = json.dumps(header | {"__metadata__": {key: other}})
        size = rng.choice([len(text.encode())] * 8 + [0, 2**40, 2**63])
        yield struct.pack("<Q", size) + text.encode() + rng.choice([body] * 4 + [b"", body * 2])


def idx_faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless headers of sizes that the file does not have, other types, other dimensions."""
    while True:
        sizes = [rng.choice([0, 1, 5, 8, 28, 2**31, 2**32 - 1]) for _ in range(3)]
        magic = bytes([0, 0, rng.choice([8, 8, 8, 9, 13]), rng.choice([3, 3, 3, 1, 255])])
        yield magic + struct.pack(">3I", *sizes) + rng.choice([valid[16:], b"", bytes(100_000)])
