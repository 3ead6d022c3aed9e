"""Tell which files are pictures: by their names and, where the name does not say, by their first bytes."""

from __future__ import annotations

import os
import re
import stat
from functools import lru_cache
from importlib.util import find_spec


def words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


READ = words(
    ".jpg .jpeg .jpe .jfif .jif .pjpeg .pjp .mpo .png .apng .bmp .dib .gif .webp .tif .tiff .avif .ico .tga "
    ".ppm .pgm .pbm .pnm"
)
HEIC = words(".heic .heif .hif")
# Pictures all the same, of phones, cameras, microscopes and drawing programs: named in skipped.json.
NOT_READ = words(
    ".jxl .jp2 .j2k .jpf .jpx .jxr .psd .psb .xcf .svg .svgz .eps .ai .exr .hdr .dds .pcx .qoi .pam .pfm .cur .icns "
    ".cr2 .cr3 .crw .nef .nrw .arw .sr2 .srf .srw .dng .orf .rw2 .rwl .raf .pef .x3f .3fr .iiq .kdc .mrw .erf .mef "
    ".czi .lif .nd2 .svs .ndpi .mrxs .scn .dcm .fits .nii"
)
# What lies beside photos and is none: labels, notes, videos, documents, programs. Passed over unread, however many.
OTHER_FILES = words(
    ".txt .md .rst .rtf .tex .bib .log .nfo .json .jsonl .ndjson .geojson .xml .csv .tsv .yaml .yml .toml .ini .cfg "
    ".conf .htm .html .xhtml .mhtml .css .js .mjs .ts .map .py .pyc .ipynb .r .m .c .h .cc .cpp .hpp .java .class .rs "
    ".go .rb .php .pl .lua .sh .bat .cmd .ps1 .sql .srt .vtt .sub .url .webloc .lnk .desktop .eml .msg .vcf .ics "
    ".xmp .aae .thm .lrv .pp3 .dop .lrcat .lrprev .gpx .kml .kmz .tfw .jgw .pgw .wld .prj .cpg .shp .shx .dbf .aux "
    ".cls .pts .mat .npy .npz .h5 .hdf5 .pkl .pickle .parquet .feather .arrow .tfrecord .tfrecords .lmdb .mdb .names "
    ".data .pt .pth .bin .onnx .safetensors .ckpt .pb .tflite .db .sqlite .sqlite3 .idx .rec .lst .cache .part "
    ".pdf .doc .docx .xls .xlsx .ods .ppt .pptx .odt .odp .epub .mobi .pages .numbers .key "
    ".mp4 .m4v .mov .avi .mkv .webm .wmv .flv .mpg .mpeg .mts .m2ts .3gp .3g2 .ogv .vob "
    ".mp3 .wav .flac .aac .ogg .oga .opus .m4a .wma .mid .midi .aif .aiff .amr "
    ".zip .tar .gz .tgz .bz2 .tbz .xz .txz .zst .tzst .lz4 .7z .rar .iso .dmg .jar .apk .cab .torrent "
    ".exe .dll .so .dylib .o .a .msi .deb .rpm .ttf .otf .woff .woff2 .obj .mtl .stl .ply .fbx .blend .gltf .glb "
    ".md5 .sha1 .sha256 .sha512 .sfv .sig .asc .par2 .partial .crdownload .lock .swp .pid"
)
OTHER_NAMES = words("readme license licence copying notice authors changelog makefile dockerfile version manifest")
MAGIC_BYTES = 32  # bytes at the beginning of a file, by which formats are recognised
BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # bytes of them, by version


def byte_order(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


@lru_cache
def reads_heic() -> bool:
    """Whether the extra is installed that decodes the photos of iPhones."""
    return find_spec("pi_heif") is not None


def is_image(name: str) -> bool:
    """Whether a file of this name is one of the images that are read here."""
    return suffix(name) in READ or (suffix(name) in HEIC and reads_heic())


def is_other_image(name: str) -> bool:
    """Whether it is an image of a format that is not read."""
    return suffix(name) in NOT_READ | HEIC and not is_image(name)


def is_other_file(name: str) -> bool:
    """Whether the name tells that it is no picture at all."""
    return suffix(name) in OTHER_FILES or name.rpartition("/")[2].lower() in OTHER_NAMES


def not_read(kind: str) -> str:
    """The reason for leaving an image of such a format out."""
    extra = "pip install 'annotate-images[heic]', or " if kind == "HEIC" or kind in HEIC else ""
    return f"{kind} is not read: {extra}convert it to JPEG"


def picture_format(head: bytes) -> str:
    """The format of a picture that begins so; empty where it is none."""
    for name, starts in STARTS.items():
        if head.startswith(starts):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return "AVIF" if head[8:12] in (b"avif", b"avis") else "HEIC" if head[8:12] in HEIC_BRANDS else ""
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADERS:
        return "BMP"
    if re.match(rb"P[1-6]\s", head):
        return "PNM"
    return "TGA" if is_tga(head) and head[2] in (2, 10) and head[:2] == b"\0\0" and not any(head[3:8]) else ""


STARTS: dict[str, bytes | tuple[bytes, ...]] = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "ICO": b"\0\0\1\0",
    "PSD": b"8BPS",
    "JPEG XL": (b"\xff\n", b"\0\0\0\x0cJXL \r\n"),
    "JPEG 2000": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
}
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
FOREIGN = ("PSD", "JPEG XL", "JPEG 2000")  # known by their bytes and not read


def is_tga(head: bytes) -> bool:
    """Whether it may be a TGA, which has no mark of its own: each field of its header has few values."""
    if len(head) < 18:
        return False
    mapped, kind, width, height = head[1], head[2], head[12:14], head[14:16]
    return (
        (mapped, kind) in ((1, 1), (1, 9), (0, 2), (0, 10), (0, 3), (0, 11))
        and any(width)
        and any(height)
        and head[16] in (8, 15, 16, 24, 32)
        and head[17] & 0xC0 == 0
    )


def first_bytes(path: str) -> bytes:
    """The first bytes of a file; a pipe or a device has none, and is not waited for.

    raises  OSError where it cannot be read
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        return b""
    with open(path, "rb", buffering=0, opener=without_waiting) as file:
        return file.read(MAGIC_BYTES) or b""


def without_waiting(path: str, flags: int) -> int:
    """Open a file; should it be a pipe by now, without waiting for whoever writes it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
