"""``python tools/sbom.py DIST``: writes a list of all that our wheel in ``DIST`` needs beside it (CycloneDX, JSON).

The list is of what locks/server.txt pins: every package with its version, and the hashes of the files it may be installed
from. Whoever hears of a vulnerability finds out from it whether this server has it, without installing anything.
"""

import hashlib
import sys
from pathlib import Path
from typing import Final

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, it would see only its own folder

from bbs import __version__
from tools import locks

SUFFIX: Final = ".cdx.json"


def sbom(wheel: Path, pinned: list[locks.Pinned]) -> str:
    """The list for ``wheel``, as indented JSON."""
    bom = Bom()
    # Without a package URL: this project is in no registry, and a package of that name there would be another.
    root = Component(
        name="bbs",
        version=__version__,
        type=ComponentType.APPLICATION,
        bom_ref="bbs",
        licenses=[LicenseExpression("Apache-2.0")],
        hashes=[_sha256(hashlib.sha256(wheel.read_bytes()).hexdigest())],
        properties=[Property(name="file", value=wheel.name)],
    )
    bom.metadata.component = root
    components = {package.name: _component(package) for package in pinned}
    bom.components.update(components.values())
    for package in pinned:
        for name in package.asked_by:
            bom.register_dependency(
                root if name == locks.PROJECT else components[name], [components[package.name]]
            )
    return JsonV1Dot6(bom).output_as_string(indent=2)


def _component(package: locks.Pinned) -> Component:
    url = PackageURL("pypi", None, package.name, package.version)
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=url.to_string(),
        purl=url,
        # Not the component's own `hashes`: which of the files is installed depends on the system.
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(f"https://pypi.org/project/{package.name}/{package.version}/#files"),
                hashes=[_sha256(each.removeprefix("sha256:")) for each in package.hashes],
            )
        ],
        properties=[Property(name="marker", value=package.marker)] if package.marker else [],
    )


def _sha256(digits: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digits)


def main(arguments: list[str]) -> int:
    [dist] = arguments
    [wheel] = Path(dist).glob(f"bbs-{__version__}-*.whl")
    file = wheel.with_name(wheel.name + SUFFIX)
    file.write_text(sbom(wheel, locks.read(locks.LOCKS / "server.txt")) + "\n")
    print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
