"""Writes the files beside this one with PyPI's own writers: `safetensors` 0.8.0, `gguf` 0.19.0, `numpy` 2.4.6.

Byte i of a tensor is (31 * i + 17 * len(name)) % 251, so a reader can be checked without a second copy of the data.
"""
import os
import sys

import gguf
import numpy as np
from safetensors import TensorSpec, serialize_file

here = os.path.dirname(os.path.abspath(sys.argv[0]))


def pattern(name, size):
    return ((31 * np.arange(size) + 17 * len(name)) % 251).astype(np.uint8)


def write_safetensors():
    tensors = {
        "norm.weight": ("F32", [5], 20),
        "q.weight": ("BF16", [3, 4], 24),
        "half": ("F16", [2, 2, 2], 16),
        "ids": ("I32", [3], 12),
        "bytes": ("U8", [7], 7),
        "position_ids": ("I64", [1, 2], 16),
        "mask": ("BOOL", [3], 3),
        "f8": ("F8_E4M3", [4], 4),
        "empty": ("F32", [0, 4], 0),
        "scalar": ("F32", [], 4),
    }
    names = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "I32": "int32", "U8": "uint8", "I64": "int64",
             "BOOL": "bool", "F8_E4M3": "float8_e4m3fn"}
    data = {name: pattern(name, size) for name, (_, _, size) in tensors.items()}
    specs = {}
    for name, (dtype, shape, size) in tensors.items():
        specs[name] = TensorSpec(dtype=names[dtype], shape=shape, data_ptr=data[name].ctypes.data, data_len=size)
    serialize_file(specs, os.path.join(here, "pypi.safetensors"), {"format": "pt"})


def write_gguf():
    writer = gguf.GGUFWriter(os.path.join(here, "pypi.gguf"), "llama")
    writer.add_uint8("t.u8", 200)
    writer.add_int8("t.i8", -100)
    writer.add_uint16("t.u16", 60000)
    writer.add_int16("t.i16", -30000)
    writer.add_uint32("t.u32", 4000000000)
    writer.add_int32("t.i32", -2000000000)
    writer.add_uint64("t.u64", 2**63 + 5)
    writer.add_int64("t.i64", -2**62)
    writer.add_float32("t.f32", 10000.0)
    writer.add_float64("t.f64", 0.5)
    writer.add_bool("t.bool", True)
    writer.add_string("t.string", "h\u00e9llo")
    writer.add_array("t.strings", ["a", "", "\u00fc", "long " * 20])
    writer.add_array("t.i32s", [1, -2, 3])
    writer.add_array("t.f32s", [0.5, -1.5])
    writer.add_array("t.bools", [True, False, True])
    kinds = ["F32", "F16", "BF16", "I32", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
    for kind in kinds:
        dtype = gguf.GGMLQuantizationType[kind]
        block, block_bytes = gguf.GGML_QUANT_SIZES[dtype]
        shape = [3, block] if block > 1 else [3, 4]  # outermost first, as numpy
        name = "blk.0." + kind.lower()
        row_bytes = shape[1] // block * block_bytes
        data = pattern(name, 3 * row_bytes).reshape(3, row_bytes)
        writer.add_tensor(name, data, raw_dtype=dtype)
    writer.add_tensor("experts", pattern("experts", 2 * 3 * 36).reshape(2, 3, 36), raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.add_tensor("output_norm.weight", np.arange(6, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


write_safetensors()
write_gguf()
reader = gguf.GGUFReader(os.path.join(here, "pypi.gguf"))
for tensor in reader.tensors:
    print(tensor.name, tensor.tensor_type.name, list(tensor.shape), tensor.data_offset, tensor.n_bytes)
