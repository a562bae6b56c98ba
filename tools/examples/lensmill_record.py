"""Lensmill's records in Python: what comes over a pipe or out of `lensmill store export`, as NumPy arrays.

Needs numpy and Google's protobuf (Debian: python3-numpy, python3-protobuf, protobuf-compiler). The schema is read from
schemas/lensmill.proto when this module is imported, so there is no generated code to keep up to date.

    for record in read_records(sys.stdin.buffer):       # a program for the operator `process`
        image = array(tensors(record)["image"])
        set_tensor(record, "image", image * 2)
        write_record(sys.stdout.buffer, record)
"""
import pathlib
import struct
import subprocess

import numpy
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

ROOT = pathlib.Path(__file__).resolve().parents[2]
FORMAT = 1
LIMIT = 2**31 - 1


def _messages():
    compiled = subprocess.run(
        ["protoc", f"--proto_path={ROOT}", "--descriptor_set_out=/dev/stdout", "schemas/lensmill.proto"],
        check=True, capture_output=True).stdout
    files = descriptor_pb2.FileDescriptorSet.FromString(compiled).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    found = {}
    for name in ("Record", "Tensor", "NamedTensor", "Attribute", "Output"):
        descriptor = pool.FindMessageTypeByName("lensmill." + name)
        if hasattr(message_factory, "GetMessageClass"):
            found[name] = message_factory.GetMessageClass(descriptor)
        else:
            found[name] = message_factory.MessageFactory(pool).GetPrototype(descriptor)
    return found


_found = _messages()
Record, Tensor = _found["Record"], _found["Tensor"]

# The numbers of the enum DType.
DTYPES = {1: "u1", 2: "<i2", 3: "<i4", 4: "<i8", 5: "<f4", 6: "<f8", 7: "<u2", 8: "<u4", 9: "?", 10: "<c8", 11: "<c16"}
NUMBERS = {numpy.dtype(text): number for number, text in DTYPES.items()}


# ---- the stream: a length (4 bytes, little-endian), then so many bytes

def _read_exactly(stream, n):
    parts = []
    while n:
        part = stream.read(n)
        if not part:
            break
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


def read_records(stream):
    """Yields each Record until the stream ends."""
    while True:
        head = _read_exactly(stream, 4)
        if not head:
            return
        if len(head) < 4:
            raise EOFError("the stream ends inside a length")
        size, = struct.unpack("<I", head)
        body = _read_exactly(stream, size)
        if len(body) < size:
            raise EOFError("the stream ends inside a record")
        yield Record.FromString(body)


def write_record(stream, record):
    """Answers with a Record; None: no output for this input (a tombstone)."""
    body = b"" if record is None else record.SerializeToString()
    if len(body) > LIMIT:
        raise ValueError(f"a record of {len(body)} bytes is more than 2 GiB")
    stream.write(struct.pack("<I", len(body)) + body)
    stream.flush()


def write_error(stream, reason, kind="input"):
    """Answers that this input failed. kind: "input" (it stays wrong), "io" or "memory" (it may pass)."""
    record = Record(format=FORMAT)
    set_attribute(record, "error", str(reason))
    set_attribute(record, "error_kind", kind)
    write_record(stream, record)


# ---- tensors and attributes

def array(tensor):
    """A Tensor message as an array; a view of its bytes, so it cannot be written to."""
    if tensor.format > FORMAT:
        raise ValueError(f"a tensor of format {tensor.format} is newer than this reader ({FORMAT})")
    return numpy.frombuffer(tensor.data, dtype=DTYPES[tensor.dtype]).reshape(tuple(tensor.shape))


def fill(tensor, values, unit=None):
    """Fills a Tensor message from an array."""
    values = numpy.ascontiguousarray(values)
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    if values.dtype not in NUMBERS:
        raise TypeError(f"lensmill has no tensors of type {values.dtype}")
    tensor.format = FORMAT
    tensor.dtype = NUMBERS[values.dtype]
    del tensor.shape[:]
    tensor.shape.extend(numpy.shape(values))
    tensor.data = values.tobytes()
    tensor.pad = b""
    if unit is not None:
        tensor.unit = unit


def tensors(record):
    """{name: Tensor} of those that are inside the record."""
    return {named.name: named.tensor for named in record.tensors if named.HasField("tensor")}


def set_tensor(record, name, values, unit=None):
    """Replaces a tensor, which keeps its unit unless one is given, or adds one."""
    for named in record.tensors:
        if named.name == name:
            break
    else:
        named = record.tensors.add(name=name)
    fill(named.tensor, values, unit)
    named.digest = b""
    named.dtype = named.tensor.dtype
    del named.shape[:]
    named.shape.extend(named.tensor.shape)


def attributes(record):
    """{name: value}; None where it is undefined."""
    return {a.name: getattr(a, a.WhichOneof("value")) if a.WhichOneof("value") else None for a in record.attributes}


def set_attribute(record, name, value, comment=""):
    for attribute in record.attributes:
        if attribute.name == name:
            break
    else:
        attribute = record.attributes.add(name=name)
    attribute.comment = comment or attribute.comment
    if value is None:
        kind = attribute.WhichOneof("value")
        if kind:
            attribute.ClearField(kind)
    elif isinstance(value, (bool, numpy.bool_)):
        attribute.boolean = bool(value)
    elif isinstance(value, (int, numpy.integer)):
        attribute.integer = int(value)
    elif isinstance(value, (float, numpy.floating)):
        attribute.real = float(value)
    else:
        attribute.text = str(value)
