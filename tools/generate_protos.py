"""Generate ``bbs/models/pb`` from its .proto files: ``make proto``.

    python tools/generate_protos.py [--into DIRECTORY]

Writes a module and a stub (``*_pb2.py``, ``*_pb2.pyi``) per .proto file, and the package's ``__init__.py``. With
``--into`` the same tree grows elsewhere, which is how the tests see that what is committed is up to date.
"""

import argparse
import re
import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

REPOSITORY = Path(__file__).resolve().parent.parent
PB = Path("bbs/models/pb")

# The BBS's own messages are what `pb.X` means. These have users of their own, who import them by module.
NOT_REEXPORTED = frozenset({"locket", "envelope", "ingress", "wire_options"})

INIT_HEADER = '''"""The BBS's protobuf messages: ``pb.ActualLRP`` and so on. Written by tools/generate_protos.py.

Locket's and Loggregator's messages are not among them: import ``locket_pb2``, ``envelope_pb2``, ``ingress_pb2``.
"""
'''


def generate(into: Path) -> None:
    protos = sorted(path.name for path in (REPOSITORY / PB).glob("*.proto"))
    well_known = files("grpc_tools").joinpath("_proto")
    arguments = ["protoc", f"-I{REPOSITORY}", f"-I{well_known}", f"--python_out={into}", f"--pyi_out={into}"]
    if protoc.main([*arguments, *(f"{PB}/{name}" for name in protos)]) != 0:
        sys.exit("protoc refused the .proto files")
    open_enums(sorted((into / PB).glob("*_pb2.pyi")))
    (into / PB / "__init__.py").write_text(package_init(protos))


def open_enums(stubs: list[Path]) -> None:
    """A field of an enum's type is a plain integer: any number may come, and go. To tell so lets fields be compared with, and
    made of, the ``IntEnum`` classes of `bbs.models`; type checkers would else hold that they are never equal.
    """
    texts = {stub: stub.read_text() for stub in stubs}
    enums = "|".join(sorted(set(re.findall(r"class (\w+)\(int, metaclass=", "".join(texts.values())))))
    for stub, text in texts.items():
        # Fields begin with a small letter, the members of an enum with a large one.
        text = re.sub(
            rf"^( +[a-z]\w*: )((?:\w+\.)*(?:{enums}))$", r"\1_Union[\2, int]", text, flags=re.MULTILINE
        )
        stub.write_text(re.sub(rf"_Union\[((?:\w+\.)*(?:{enums})), str\]", r"_Union[\1, int, str]", text))


def package_init(protos: list[str]) -> str:
    """One ``from .x_pb2 import Y as Y`` per top-level message or enum: the form in which mypy sees a re-export."""
    lines = [INIT_HEADER]
    for proto in protos:
        stem = proto.removesuffix(".proto")
        if stem in NOT_REEXPORTED:
            continue
        declared = re.findall(r"^(?:message|enum) (\w+)", (REPOSITORY / PB / proto).read_text(), re.MULTILINE)
        lines += [f"from bbs.models.pb.{stem}_pb2 import {name} as {name}" for name in declared]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=REPOSITORY)
    generate(parser.parse_args().into)
