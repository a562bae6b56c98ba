#!/usr/bin/env python3
"""Reads a stored record or tensor that was exported from a store, with Google's protobuf and NumPy.

    read_artifact.py FILE            what is in it
    read_artifact.py FILE --npz OUT  its arrays as an .npz file

FILE holds the bytes of a lensmill.Record (with its tensors inside, or named by their digests) or of a lensmill.Tensor, as
schemas/lensmill.proto defines them. sha256sum of such a file is its digest in the store.
"""
import argparse
import pathlib
import sys

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "examples"))
import lensmill_record as lensmill  # noqa: E402
from google.protobuf.message import DecodeError  # noqa: E402


def is_tensor(data):
    """A tensor's second field is a number (its dtype), a record's is text (its id)."""
    at = 0
    if data[:1] == b"\x08":  # field 1, the format
        at = 1
        while data[at:at + 1] >= b"\x80":
            at += 1
        at += 1
    return data[at:at + 1] == b"\x10"


def read(path):
    """(Record or None, {name: array}); a lone tensor has the name "tensor"."""
    data = pathlib.Path(path).read_bytes()
    if is_tensor(data):
        return None, {"tensor": lensmill.array(lensmill.Tensor.FromString(data))}
    record = lensmill.Record.FromString(data)
    if record.format > lensmill.FORMAT:
        raise ValueError(f"a record of format {record.format} is newer than this reader ({lensmill.FORMAT})")
    return record, {name: lensmill.array(tensor) for name, tensor in lensmill.tensors(record).items()}


def describe(array):
    text = f"{array.dtype} {list(array.shape)}"
    if array.size and array.dtype.kind in "fiu":
        finite = array[numpy.isfinite(array)]
        if finite.size:
            text += f", {finite.min():g} to {finite.max():g}"
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--npz", metavar="OUT", help="write the arrays to this file")
    options = parser.parse_args()
    try:
        record, arrays = read(options.file)
    except (OSError, DecodeError, ValueError) as error:
        sys.exit(f"{options.file}: {error}")
    if record is not None:
        print(f"record {record.id}")
        for name, value in lensmill.attributes(record).items():
            print(f"  {name} = {'undefined' if value is None else value}")
        for named in record.tensors:
            if not named.HasField("tensor"):
                print(f"  {named.name}: in the store as {named.digest.hex()}, shape {list(named.shape)}")
    for name, values in arrays.items():
        print(f"  {name}: {describe(values)}")
    if options.npz:
        numpy.savez(options.npz, **arrays)


if __name__ == "__main__":
    main()
