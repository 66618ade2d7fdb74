"""Makes PyTorch checkpoints as the published YOLO trainers save them, and malicious ones. Used by import_test.cpp.

make_checkpoints.py WEIGHTS.safetensors FOLDER MARK: the checkpoints hold the tensors of WEIGHTS (float). A malicious one
that is run makes the file MARK.
"""
import collections
import io
import json
import os
import pathlib
import pickle
import struct
import sys
import types
import zipfile

import torch

try:
    import numpy
except ImportError:
    numpy = None


def read_safetensors(file):
    data = open(file, "rb").read()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    kinds = {"F32": torch.float32, "I64": torch.int64}
    tensors = collections.OrderedDict()
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        flat = torch.frombuffer(bytearray(data[begin:end]), dtype=kinds[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"]).clone()
    return tensors


def throwaway_class(module, name, base=torch.nn.Module):
    """A class that pickles refer to as module.name, as those of a trainer's own code."""
    parts = module.split(".")
    for i in range(len(parts)):
        sys.modules.setdefault(".".join(parts[:i + 1]), types.ModuleType(".".join(parts[:i + 1])))
    cls = type(name, (base,), {"__module__": module})
    setattr(sys.modules[module], name, cls)
    return cls


def module_tree(tensors, root_class, block_class):
    """Modules within modules, so that state_dict() gives the names of `tensors` again."""
    root = root_class()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, block_class())
            module = module._modules[part]
        if last.startswith("running_") or last in ("num_batches_tracked", "anchors"):
            module.register_buffer(last, tensor.clone())
        else:
            module.register_parameter(last, torch.nn.Parameter(tensor.clone()))
    return root


def published(tensors, folder):
    names = ["red", "green", "blue"]
    model = module_tree(tensors, throwaway_class("ultralytics.nn.tasks", "DetectionModel"),
                        throwaway_class("ultralytics.nn.modules.block", "C2f"))
    model.names = dict(enumerate(names))
    model.nc = 3
    model.stride = torch.tensor([8.0, 16.0, 32.0])
    model.yaml = {"nc": 80, "yaml_file": "yolov8n.yaml"}
    model.args = throwaway_class("ultralytics.utils", "IterableSimpleNamespace", types.SimpleNamespace)(imgsz=96)
    model.register_buffer("grid", torch.zeros(4), persistent=False)
    torch.save({"epoch": -1, "model": None, "ema": model.half(), "updates": 7, "optimizer": None, "date": "2024-01-01",
                "train_args": {"imgsz": 96, "lr0": 0.01, "save_dir": pathlib.PosixPath("runs/x")}}, folder / "ema_half.pt")

    older = module_tree(tensors, throwaway_class("models.yolo", "DetectionModel"),
                        throwaway_class("models.common", "Conv"))
    older.names = names
    older.yaml = {"nc": 3}
    torch.save({"epoch": 3, "best_fitness": numpy.float64(0.5) if numpy else 0.5, "ema": None, "model": older,
                "opt": {"imgsz": 96}}, folder / "model_module.pt")
    torch.save(tensors, folder / "state_dict.pt")
    torch.save({"state_dict": {"module." + name: tensor for name, tensor in tensors.items()}}, folder / "wrapped.pt",
               pickle_protocol=4)
    torch.save(tensors, folder / "legacy.pt", _use_new_zipfile_serialization=False)


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def write_archive(file, pickled, storages=None, compression=zipfile.ZIP_STORED, more=None):
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for key, data in (storages or {"0": bytes(64)}).items():
            archive.writestr(f"archive/data/{key}", data)
        for name, data in (more or {}).items():
            archive.writestr(name, data)
        archive.writestr("archive/version", "3\n")


class Reference:
    def __init__(self, parts):
        self.parts = parts


def pickled_with_references(value, protocol=2):
    """A pickle in which Reference stands for a persistent id, as torch.save's storages do."""
    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            return item.parts if isinstance(item, Reference) else None

    out = io.BytesIO()
    Pickler(out, protocol).dump(value)
    return out.getvalue()


def tensor_of(storage, offset, size, stride):
    return Calls(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, collections.OrderedDict())


def malicious(tensors, folder, mark):
    shell = f"touch {mark}"
    evil = Calls(os.system, shell)
    few = dict(list(tensors.items())[:2])
    torch.save(evil, folder / "evil_top.pt")
    torch.save({"model": few, "note": [({"deep": evil},)]}, folder / "evil_nested.pt")
    torch.save({"model": few, "note": Calls(exec, f"open({str(mark)!r}, 'w')")}, folder / "evil_exec.pt")
    torch.save({"model": few, "note": Calls(eval, f"open({str(mark)!r}, 'w')")}, folder / "evil_protocol4.pt", pickle_protocol=4)
    torch.save({"model": few, "note": Calls(getattr, str, "format")}, folder / "evil_getattr.pt")
    torch.save({"model": few, "note": Calls(__import__, "os")}, folder / "evil_import.pt")

    module = throwaway_class("models.yolo", "Model")()
    module.register_parameter("weight", torch.nn.Parameter(torch.zeros(2)))
    module.hook = evil
    torch.save({"ema": module}, folder / "evil_in_module.pt")
    torch.save({"model": few, "note": Calls(torch.storage._load_from_bytes, b"")}, folder / "evil_pickle_in_pickle.pt")

    command = repr(shell).encode()
    write_archive(folder / "evil_global_reduce.pt", b"cposix\nsystem\n(S" + command + b"\ntR.")
    write_archive(folder / "evil_inst.pt", b"(S" + command + b"\nios\nsystem\n.")
    write_archive(folder / "evil_obj.pt", b"(cos\nsystem\nS" + command + b"\no.")
    write_archive(folder / "evil_stack_global.pt",
                  b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(shell)]) + shell.encode() + b"\x85R.")
    write_archive(folder / "evil_reduce_of_reduce.pt", b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR(S" + command + b"\ntR.")


def lying(folder):
    def storage(count, key="0", kind=torch.FloatStorage):
        return Reference(("storage", kind, key, "cpu", count))

    def save(name, tensor, **archive):
        write_archive(folder / name, pickled_with_references({"model.0.weight": tensor}), **archive)

    save("lie_count.pt", tensor_of(storage(1 << 40), 0, (4,), (1,)))
    save("lie_size.pt", tensor_of(storage(16), 0, (1 << 40,), (1,)))
    save("lie_overflow.pt", tensor_of(storage(16), 0, (1 << 31, 1 << 31, 1 << 31), (1, 1, 1)))
    save("lie_stride.pt", tensor_of(storage(16), 0, (4,), (1 << 60,)))
    save("lie_expand.pt", tensor_of(storage(16), 0, (1 << 20, 1 << 20), (0, 0)))
    save("lie_offset.pt", tensor_of(storage(16), (1 << 62), (1,), (1,)))
    save("lie_key.pt", tensor_of(storage(16, "../../../../etc/passwd"), 0, (4,), (1,)))
    save("lie_kind.pt", tensor_of(storage(16, kind=eval), 0, (4,), (1,)))
    save("lie_persistent.pt", tensor_of(Reference(("module", "x")), 0, (4,), (1,)))
    save("lie_compressed.pt", tensor_of(storage(1 << 20), 0, (4,), (1,)), storages={"0": bytes(4 << 20)},
         compression=zipfile.ZIP_DEFLATED)
    save("lie_script.pt", tensor_of(storage(16), 0, (4,), (1,)), more={"archive/constants.pkl": b"N."})

    # Each of many tensors is sound, together they would fill the memory.
    big = storage(1 << 20)
    many = {f"t{i}": tensor_of(big, 0, (1 << 20,), (1,)) for i in range(200)}
    write_archive(folder / "lie_many.pt", pickled_with_references(many), storages={"0": bytes(4 << 20)})

    # Containers in a circle, and one that is its own module.
    circle = throwaway_class("models.yolo", "Circle", object)()
    circle._modules = {"self": circle}
    circle._parameters = {}
    circle._buffers = {}
    write_archive(folder / "lie_circle.pt", pickle.dumps({"model": circle}, 2))

    # Sixty modules without a tensor, each the next one's parent twice: 2^59 ways to the last.
    twice = throwaway_class("models.yolo", "Twice", object)
    module = None
    for _ in range(60):
        child, module = module, twice()
        module._modules = {} if child is None else {"a": child, "b": child}
        module._parameters = {}
        module._buffers = {}
    write_archive(folder / "lie_ways.pt", pickle.dumps({"model": module}, 2))
    write_archive(folder / "lie_name.pt",
                  pickled_with_references({"x" * 2000: tensor_of(storage(16), 0, (4,), (1,))}))
    data = (folder / "state_dict.pt").read_bytes()
    (folder / "lie_truncated.pt").write_bytes(data[:len(data) // 2])
    middle = len(data) // 2
    (folder / "lie_checksum.pt").write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:])
    (folder / "lie_nothing.pt").write_bytes(b"")
    write_archive(folder / "lie_pickle_ends.pt", b"\x80\x02}q\x00")


weights, target, mark = sys.argv[1:]
target = pathlib.Path(target)
given = read_safetensors(weights)
published(given, target)
malicious(given, target, pathlib.Path(mark))
lying(target)
