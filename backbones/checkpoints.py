"""Official checkpoints, as data: where each lies, its digest, its licence, what it was trained on.

Addresses are those that the authors' repositories name, of one pinned revision where a repository allows it. Digests
are those in official file names (DeiT's are the start of a SHA-256, SAM's of an MD5), git's own ids of files that lie
in a git repository, and digests that several public projects state alike. None of the files was downloaded and loaded
by LinBench's authors yet, so `verified` is false everywhere. Importing this costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

IN1K = "ImageNet-1k, 224 px"
SA1B = "SA-1B, 1024 px"
HQSEG = "SA-1B, then HQSeg-44K, 1024 px"

DEIT = "https://dl.fbaipublicfiles.com/deit/"
SAM = "https://dl.fbaipublicfiles.com/segment_anything/"
VMAMBA = "https://github.com/MzeroMiko/VMamba/releases/download/"
EFFICIENT_SAM = (
    "https://raw.githubusercontent.com/yformer/EfficientSAM/d525f622e6f640acf5a0fc37c7ca1f243da5bde0/weights/"
)
MOBILE_SAM = (
    "https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/34bbbfdface3c18e5221aa7de6032d7220c6c6a1/weights/"
)
HQ_SAM_REVISION = "67ab82412bc794d5ce2e9799b8b6a3c0a8cfe1d2"
LIGHT_HQ_SAM_REVISION = "a3a77cd0a2e5e50eaa76faccf61b964732d9b35f"


@dataclass(frozen=True)
class Checkpoint:
    """One official checkpoint.

    Attributes:
        name: `<backbone or system>:<tag>`.
        file: Its official file name.
        url: Folder of a plain download, with a slash at its end; empty where the file lies on the Hugging Face hub.
        repo: Repository on the Hugging Face hub.
        revision: Commit or branch of that repository.
        digest: `sha256:`, `md5:` or `git:` (git's id of the file) and the digest in hex, or as much of its start as is
            published; empty where none is.
        size: Bytes, where they are known.
        licence: That of the repository which publishes the file.
        trained_on: Data and image side.
        also_for: Other backbones or systems that take their weights out of this file.
        classes: Outputs of the classifier in the file; 0 where it holds none.
        verified: Whether LinBench's authors have downloaded the file, loaded it strictly and found the published score.
        note: What a user of the file must know.
    """

    name: str
    file: str
    licence: str
    trained_on: str
    url: str = ""
    repo: str = ""
    revision: str = "main"
    digest: str = ""
    size: int | None = None
    also_for: tuple[str, ...] = ()
    classes: int = 1000
    verified: bool = False
    note: str = ""

    @property
    def subject(self) -> str:
        """The backbone or system that the file is for."""
        return self.name.partition(":")[0]

    @property
    def tag(self) -> str:
        """What tells it from other checkpoints of that backbone or system."""
        return self.name.partition(":")[2]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Every backbone and system that takes weights from the file."""
        return (self.subject, *self.also_for)

    @property
    def address(self) -> str:
        """Where a person can get the file."""
        return (
            self.url + self.file
            if self.url
            else f"https://huggingface.co/{self.repo}/resolve/{self.revision}/{self.file}"
        )

    @property
    def digest_kind(self) -> str:
        """`sha256`, `sha256 (8 digits)`, `md5`, `git id`, or `not published`."""
        kind, _, value = self.digest.partition(":")
        full = {"sha256": 64, "md5": 32, "git": 40}
        if not value:
            return "not published"
        name = "git id" if kind == "git" else kind
        return name if len(value) == full[kind] else f"{name} ({len(value)} digits)"


def _deit(size: str, file: str) -> Checkpoint:
    prefix = file.removesuffix(".pth").rpartition("-")[2]
    return Checkpoint(
        f"vit-{size}:deit-in1k",
        file,
        "Apache-2.0",
        IN1K,
        url=DEIT,
        digest=f"sha256:{prefix}",
        note="DeiT, not distilled",
    )


def _vrwkv(size: str, tag: str, file: str, trained_on: str = IN1K, *, classes: int = 1000) -> Checkpoint:
    return Checkpoint(
        f"vrwkv-{size}:{tag}", file, "Apache-2.0", trained_on, repo="OpenGVLab/Vision-RWKV", classes=classes
    )


def _vim(size: str, repo: str, file: str) -> Checkpoint:
    return Checkpoint(f"vim-{size}:in1k", file, "Apache-2.0", IN1K, repo=f"hustvl/{repo}")


def _vmamba(name: str, release: str, file: str) -> Checkpoint:
    return Checkpoint(f"{name}:in1k", file, "MIT", IN1K, url=f"{VMAMBA}%23{release}/")


def _sam(size: str, file: str, sha256: str, bytes_: int) -> Checkpoint:
    return Checkpoint(
        f"sam-vit-{size}:sa1b",
        file,
        "Apache-2.0",
        SA1B,
        url=SAM,
        digest=f"sha256:{sha256}",
        size=bytes_,
        also_for=(f"samvit-{size}",),
        classes=0,
    )


def _hq_sam(name: str, file: str, digest: str, bytes_: int | None = None) -> Checkpoint:
    revision = LIGHT_HQ_SAM_REVISION if name == "light-hq-sam" else HQ_SAM_REVISION
    return Checkpoint(
        f"{name}:hqseg44k",
        file,
        "Apache-2.0",
        HQSEG,
        repo="lkeab/hq-sam",
        revision=revision,
        digest=digest,
        size=bytes_,
        classes=0,
    )


def _efficient_sam(size: str, file: str, git_id: str, note: str = "") -> Checkpoint:
    return Checkpoint(
        f"efficientsam-{size}:sa1b",
        file,
        "Apache-2.0",
        SA1B,
        url=EFFICIENT_SAM,
        digest=f"git:{git_id}",
        classes=0,
        note=note,
    )


CHECKPOINTS: tuple[Checkpoint, ...] = (
    _deit("t", "deit_tiny_patch16_224-a1311bcf.pth"),
    _deit("s", "deit_small_patch16_224-cd65a155.pth"),
    _deit("b", "deit_base_patch16_224-b5f2ef4d.pth"),
    _vrwkv("t", "in1k", "vrwkv_t_in1k_224.pth"),
    _vrwkv("s", "in1k", "vrwkv_s_in1k_224.pth"),
    _vrwkv("b", "in1k", "vrwkv_b_in1k_224.pth"),
    _vrwkv("l", "in22k-in1k", "vrwkv_l_22kto1k_384.pth", "ImageNet-22k, then ImageNet-1k, 384 px"),
    _vrwkv("l", "in22k", "vrwkv_l_in22k_192.pth", "ImageNet-22k, 192 px", classes=0),
    _vim("t", "Vim-tiny-midclstok", "vim_t_midclstok_76p1acc.pth"),
    _vim("s", "Vim-small-midclstok", "vim_s_midclstok_80p5acc.pth"),
    _vim("b", "Vim-base-midclstok", "vim_b_midclstok_81p9acc.pth"),
    _vmamba("vmamba-t", "v2cls", "vssm_tiny_0230_ckpt_epoch_262.pth"),
    _vmamba("vmamba-s", "v2cls", "vssm_small_0229_ckpt_epoch_222.pth"),
    _vmamba("vmamba-b", "v2cls", "vssm_base_0229_ckpt_epoch_237.pth"),
    _vmamba("vmamba-t-s1l8", "v2cls", "vssm1_tiny_0230s_ckpt_epoch_264.pth"),
    _vmamba("vmamba-s-s1l20", "v2cls", "vssm1_small_0229s_ckpt_epoch_240.pth"),
    _vmamba("vmamba-b-s1l20", "v2cls", "vssm1_base_0229s_ckpt_epoch_225.pth"),
    _vmamba("vmamba-t-v0", "v0cls", "vssmtiny_dp01_ckpt_epoch_292.pth"),
    _vmamba("vmamba-s-v0", "v0cls", "vssmsmall_dp03_ckpt_epoch_238.pth"),
    _vmamba("vmamba-b-v0", "v0cls", "vssmbase_dp06_ckpt_epoch_241.pth"),
    _sam(
        "b",
        "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        375042383,
    ),
    _sam(
        "l",
        "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        1249524607,
    ),
    _sam(
        "h",
        "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        2564550879,
    ),
    _hq_sam("hq-sam-b", "sam_hq_vit_b.pth", "md5:c6b8953247bcfdc8bb8ef91e36a6cacc"),
    _hq_sam("hq-sam-l", "sam_hq_vit_l.pth", "md5:08947267966e4264fb39523eccc33f86"),
    _hq_sam(
        "hq-sam-h",
        "sam_hq_vit_h.pth",
        "sha256:a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35",
        2570940653,
    ),
    _hq_sam(
        "light-hq-sam",
        "sam_hq_vit_tiny.pth",
        "sha256:0f32c075ccdd870ae54db2f7630e7a0878ede5a2b06d05d6fe02c65a82fb7196",
    ),
    Checkpoint(
        "mobilesam:sa1b",
        "mobile_sam.pt",
        "Apache-2.0",
        "1 % of SA-1B, distilled from SAM ViT-H, 1024 px",
        url=MOBILE_SAM,
        digest="sha256:6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        size=40728226,
        also_for=("tinyvit-5m",),
        classes=0,
    ),
    _efficient_sam("ti", "efficient_sam_vitt.pt", "af883c49e33c68f01107be52df0ecad26a48355f"),
    _efficient_sam(
        "s",
        "efficient_sam_vits.pt.zip",
        "fa4e9f05f753e109dbde052f97d37903b833cf53",
        "a zip archive around the checkpoint; it is read as it is",
    ),
)

# Licence of the original code, by family; LinBench's own code is under Apache-2.0.
LICENCES = {
    "rwkvsam": "S-Lab 1.0",
    "vrwkv": "Apache-2.0",
    "vim": "Apache-2.0",
    "vmamba": "MIT",
    "efficientvmamba": "Apache-2.0",
    "vit": "Apache-2.0",
    "sam_vit": "Apache-2.0",
    "tiny_vit": "Apache-2.0",
    "based": "Apache-2.0",
    "sam-lightening": "Apache-2.0",
}

# What exists, or might be looked for, and cannot be fetched by name; by the start of a backbone's or system's name.
BY_HAND = {
    "efficientvmamba-": "its authors publish files at huggingface.co/TerryPei (EfficientVMamba-Tiny, -Small, -Base) "
    "whose names are not known for certain here; download one and give its path",
    "rwkvsam-": "its authors have published no weights; for rwkvsam-t LinBench ships demo weights of the system",
    "sam-lightening-style": "its authors have published no weights",
    "based-": "it is LinBench's own extension, there are no weights of it",
    "timm:": "from Python, pass pretrained=True to get timm's",
}


def checkpoints_for(name: str) -> list[Checkpoint]:
    """Official checkpoints of a backbone or system, the default one first."""
    return [checkpoint for checkpoint in CHECKPOINTS if name in checkpoint.subjects]
