"""Packaging of `uda`: the library, and the folders of YAML files that ship with it."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
SHIPPED = ("configs", "pipelines", "data_manifests")

# Every folder below a shipped one has to be named: setuptools maps packages, not trees.
folders = sorted(
    {path.parent.relative_to(ROOT) for name in SHIPPED for path in (ROOT / name).rglob("*") if path.is_file()}
    | {Path(name) for name in SHIPPED}
)
shipped = {f"uda.{folder.as_posix().replace('/', '.')}": folder.as_posix() for folder in folders}

setup(
    name="uda",
    version="0.1.0",
    description="Unsupervised domain adaptation for semantic segmentation",
    long_description=(ROOT / "README.md").read_text() if (ROOT / "README.md").is_file() else "",
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=[*find_packages(include=["uda", "uda.*"]), *shipped],
    package_dir=shipped,
    package_data={"": ["*.yaml", "*.csv", "*.j2"]},
    entry_points={"console_scripts": ["uda=uda.cli:main"]},
    install_requires=[
        "accelerate>=1.0",  # devices, precision, processes
        "click>=8.1",  # the command line
        "jinja2>=3.1",  # report
        "kornia>=0.8",  # colour spaces and augmentation on the device
        "matplotlib>=3.8",  # curves in the report
        "numpy>=2.0",  # pixels between reading and the device
        "opencv-python-headless>=4.10",  # 16-bit multi-channel PNGs (SYNTHIA), drawing of mini-city
        "pandas>=2.2",  # manifests and tables of scores
        "pillow>=10.3",  # palette PNGs, the recipes' antialiased bicubic
        "pydantic>=2.9",  # settings, checked and explained
        "pyyaml>=6.0",  # recipes and pipelines
        "rich>=13.7",  # progress bars
        "safetensors>=0.4.5",  # weights that run no code
        "segmentation-models-pytorch>=0.4",  # encoders and architectures
        "tensorboard>=2.17",  # curves, where asked for
        "timm>=1.0",  # further encoders
        "torch>=2.5",  # networks and their training
        "torch-fidelity>=0.4.0",  # the Inception network that FID, KID and IS are defined on
        "torchmetrics>=1.9",  # FID, KID's kernel, MS-SSIM, LPIPS (its `_LPIPS` takes weights from a file)
        "torchvision>=0.20",  # VGG16; smp and timm need it
    ],
    extras_require={
        "test": [
            "build>=1.2",  # the wheel test
            "cityscapesscripts>=2.2",  # the official evaluation, to agree with
            "hypothesis>=6.100",  # what holds for all values, not for a few examples
            "mypy>=1.13",  # types, in `make types`
            "pandas-stubs>=2.2",  # pandas' types, for mypy
            "pytest>=8.3",  # runs the tests
            "pytest-xdist>=3.6",  # two at a time, in `make unit`
            "ruff>=0.8",  # lints and formats, in `make lint`
            "setuptools>=77",  # the wheel test builds with the one that is there: as pyproject.toml asks
            "types-PyYAML>=6.0",  # PyYAML's types, for mypy
        ]
    },
)
