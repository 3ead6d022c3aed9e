"""Files that somebody else made: what is no weight in them is refused in one line, and never run."""

from __future__ import annotations

import collections
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from annotate import encoders
from annotate.encoders import checkpoints
from annotate.encoders.openai import OpenAIClip, build, read_checkpoint
from annotate.errors import InputError
from tests.conftest import small_clip


class Stored:
    """A storage of the archive by its key."""

    def __init__(self, key: str = "0", count: int = 6) -> None:
        self.identity = ("storage", torch.FloatStorage, key, "cpu", count)


class Call:
    """A call that whoever unpickles makes."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.called = (function, arguments)

    def __reduce__(self) -> Any:
        return self.called


def view(offset: int = 0, shape: Any = (2, 3), strides: Any = (3, 1), stored: Stored | None = None) -> Call:
    rebuild: Any = torch._utils._rebuild_tensor_v2
    return Call(rebuild, stored or Stored(), offset, shape, strides, False, collections.OrderedDict())


def pickled(content: Any, protocol: int = 2) -> bytes:
    import io

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: object) -> object:
            return thing.identity if isinstance(thing, Stored) else None

    written = io.BytesIO()
    Pickler(written, protocol).dump(content)
    return written.getvalue()


NUMBERS = np.arange(6, dtype="<f4").tobytes()


def archive(content: Any, method: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile("x.pt", "w", method) as written:
        written.writestr("x/data.pkl", content if isinstance(content, bytes) else pickled(content))
        for name, numbers in {"0": NUMBERS, **members}.items():
            written.writestr(f"x/data/{name}", numbers)
    return Path("x.pt")


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        checkpoints.read_tensors(path)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_view_of_a_storage_is_read() -> None:
    read = checkpoints.read_tensors(archive({"a": view(), "b": view(1, (2,), (2,))}))
    assert read["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read["b"].tolist() == [1, 3]


class Bomb(nn.Module):  # type: ignore[misc]
    """A module whose TorchScript writes a file when it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.text_projection = nn.Parameter(torch.ones(2, 2))

    @torch.jit.export  # type: ignore[untyped-decorator]
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.text_projection, self.training

    @torch.jit.export  # type: ignore[untyped-decorator]
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        self.text_projection = state[0]
        self.training = state[1]
        torch.save(state[0], "written")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_code_of_a_torchscript_archive_is_not_run() -> None:
    torch.jit.script(Bomb()).save("x.pt")
    refused(Path("x.pt"))
    assert not Path("written").exists()
    torch.jit.load("x.pt")
    assert Path("written").exists(), "the archive is no bomb"


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_function_in_a_pickle_is_not_called(protocol: int) -> None:
    for call in (Call(os.system, "touch ran"), Call(Path.touch, Path("ran")), Call(exec, "open('ran', 'w')")):
        for content in (call, {"text_projection": call}, [call], {"state_dict": {"x": call}, "epoch": 1}):
            assert "more than weights" in refused(archive(pickled(content, protocol)))
            Path("x.bin").write_bytes(pickled(content, protocol))
            refused(Path("x.bin"))
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"w": view(0, (2, 4))}, "beyond its numbers"),
        ({"w": view(4)}, "beyond its numbers"),
        ({"w": view(-1)}, "impossible"),
        ({"w": view(0, (2, -3))}, "impossible"),
        ({"w": view(0, (2, 3), (-3, 1))}, "impossible"),
        ({"w": view(0, (1 << 50,), (1,))}, "impossible"),
        ({"w": view(0, (0, 3))}, "impossible"),
        ({"w": view(0, (True, 3))}, "impossible"),
        ({"w": view(0, (1 << 30, 1 << 30), (0, 0))}, "more bytes than the file has"),
        ({f"w{i}": view(0, (40, 40), (0, 0)) for i in range(50)}, "more bytes than the file has"),
        ({"w": view(stored=Stored("1"))}, "not a readable checkpoint"),
        ({"w": view(stored=Stored("../../0"))}, "not a readable checkpoint"),
        ({(1, 2): view()}, "neither text nor small numbers"),
        ({1 << 61: view()}, "neither text nor small numbers"),
        ({"w": 1 << 3000}, "an instruction that no checkpoint needs"),
        ([view()], "no named tensors"),
        (view(), "no named tensors"),
        (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", "os.system"),
        (b"\x80\x02ios\nsystem\n.", "not a readable checkpoint"),
        (b"\x80\x02}r\xff\xff\xff\xff.", "no named tensors"),
        (b"\x80\x02X\xff\xff\xff\x7fa.", "not a readable checkpoint"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.", "not a readable checkpoint"),
        (b"\x80\x02c__torch__.m\nM\n)\x81}b", "not a readable checkpoint"),
        (b"\x80\x02c__torch__.m\nM\n)\x81q\x00}X\x01\x00\x00\x00mh\x00sb.", "more modules"),
        (b"\x80\x02c__torch__.m\nM\nc__torch__.m\nM\n}b.", "takes none"),
        (b"\x80\x02" + b"(" * 100_000 + b"." , "not a readable checkpoint"),
        (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "no named tensors"),
        (b"\x80\x02tb0000000.", "not a readable checkpoint"),
        (b"", "not a readable checkpoint"),
    ],
)  # fmt: skip
def test_what_no_checkpoint_says_is_refused(content: Any, said: str) -> None:
    assert said in refused(archive(content))


def test_modules_that_hold_each_other_many_times_are_refused() -> None:
    doubled = b"".join(
        b"c__torch__.m\nM\n)\x81q" + bytes([i]) + b"}"
        + b"".join(b"X\x01\x00\x00\x00" + name + b"h" + bytes([i - 1]) + b"s" for name in (b"a", b"b") if i)
        + b"b"
        for i in range(25)
    )  # fmt: skip
    assert "more modules" in refused(archive(b"\x80\x02" + doubled + b"."))


def test_a_compressed_archive_is_refused_before_it_is_unpacked() -> None:
    assert "compressed" in refused(archive({"w": view()}, zipfile.ZIP_DEFLATED))
    bomb = bytes(checkpoints.LARGEST_PICKLE + 1)
    assert "claims" in refused(archive(bomb))


def test_numbers_that_lie_twice_in_the_same_place_are_refused() -> None:
    path = archive({f"w{i}": view(stored=Stored(str(i))) for i in range(400)})
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\1\2")  # the entry of data/0: all others are the same with another name
    end = content.rfind(b"PK\5\6")
    one = bytes(content[at:end])
    names = [f"x/data/{i}".encode() for i in range(1, 400)]
    more = [one[:28] + struct.pack("<H", len(name)) + one[30:46] + name for name in names]
    listed = b"".join(more)
    tail = bytearray(content[end:])
    count, size = struct.unpack_from("<HxxI", tail, 8)[0], struct.unpack_from("<I", tail, 12)[0]
    struct.pack_into("<HHI", tail, 8, count + len(more), count + len(more), size + len(listed))
    path.write_bytes(bytes(content[:end]) + listed + bytes(tail))
    refused(path)


def test_an_endless_table_of_contents_is_refused_before_it_is_read() -> None:
    path = archive({"w": view()})
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, len(content) - 22 + 12, checkpoints.LARGEST_INDEX + 1)
    path.write_bytes(bytes(content))
    assert "table of contents" in refused(path)


def test_a_flipped_bit_among_the_numbers_is_noticed() -> None:
    path = archive({"w": view()})
    content = bytearray(path.read_bytes())
    content[content.find(NUMBERS) + 5] ^= 1
    path.write_bytes(bytes(content))
    refused(path)


def test_the_formats_before_pytorch_1_6_are_named(tmp_path: Path) -> None:
    import tarfile

    torch.save({"w": torch.ones(2)}, "old.pt", _use_new_zipfile_serialization=False)
    assert "PyTorch before 1.6" in refused(Path("old.pt"))
    with tarfile.open("older.pt", "w") as tar:
        tar.add("old.pt", "storages")
    assert "PyTorch before 1.6" in refused(Path("older.pt"))


def test_a_whole_model_that_was_pickled_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), "x.pt")
    assert "more than weights: torch.nn.modules.linear.Linear" in refused(Path("x.pt"))


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_short_file_is_refused(suffix: str, keep: float) -> None:
    state = small_clip().state_dict()
    path = Path(f"x{suffix}")
    if suffix == ".pt":
        torch.save(state, path)
    else:
        from safetensors.torch import save_file

        save_file(state, path)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    refused(path)


def test_a_training_checkpoint_with_an_optimizer_is_read() -> None:
    model = nn.Linear(3, 2)
    steps = {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(2, 3)}, 1: {"step": torch.tensor(1.0)}}
    optimizer = {
        "state": steps,
        "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "foreach": None, "params": [0, 1]}],
    }
    torch.save({"state_dict": model.state_dict(), "optimizer": optimizer, "loss": 0.5, "epoch": 3}, "x.pt")
    read = checkpoints.read_tensors(Path("x.pt"))
    assert read.keys() == {"weight", "bias"}
    assert torch.equal(read["weight"], model.weight)
    torch.save(dict(model.named_parameters()), "x.pt")
    assert torch.equal(checkpoints.read_tensors(Path("x.pt"))["weight"], model.weight)
    half = {"a": torch.arange(6, dtype=torch.bfloat16).view(2, 3).T, "b": torch.tensor(3)}
    torch.save(half, "x.pt")
    read = checkpoints.read_tensors(Path("x.pt"))
    assert torch.equal(read["a"], half["a"])
    assert read["b"].item() == 3


def changed(**weights: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = small_clip().state_dict()
    for name, change in weights.items():
        state[name.replace("__", ".")] = change(state[name.replace("__", ".")])
    return state


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (changed(token_embedding__weight=lambda w: w[:500]), "a vocabulary of 500 tokens"),
        (changed(token_embedding__weight=lambda w: torch.ones(49_409, 64)), "a vocabulary of 49,409 tokens"),
        (changed(positional_embedding=lambda w: w[:2]), "texts of 2 tokens"),
        (changed(positional_embedding=lambda w: torch.ones(5_000, 64)), "texts of 5,000 tokens"),
        (changed(text_projection=lambda w: w[:, :7]), "do not fit together"),
        (changed(text_projection=lambda w: w[0]), "do not fit together"),
        (changed(ln_final__weight=lambda w: w[:5]), "do not fit together"),
        (changed(ln_final__weight=lambda w: torch.ones(1 << 20)), "do not fit together"),
        (changed(visual__conv1__weight=lambda w: w[0, 0, 0]), "do not fit together"),
        (changed(visual__positional_embedding=lambda w: w[:4]), "do not fit together"),
        (changed(logit_scale=lambda w: torch.ones(2)), "do not fit together"),
        ({**small_clip().state_dict(), "transformer.resblocks.7.ln_1.bias": torch.ones(64)}, "do not fit together"),
        ({**small_clip().state_dict(), "surplus": torch.ones(64)}, "do not fit together"),
    ],
)
def test_weights_that_make_no_usable_model_are_refused(state: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        build(state)
    assert "\n" not in str(caught.value)


def test_a_scale_without_bounds_and_a_text_of_length_zero_are_told() -> None:
    def encoder(**weights: Callable[[torch.Tensor], torch.Tensor]) -> OpenAIClip:
        return OpenAIClip(build(changed(**weights)), name="x", digest="", device="cpu", precision="float32")

    for scale in (1e9, -1e9, float("nan")):
        with pytest.raises(InputError, match="not finite"):
            encoder(logit_scale=lambda w, scale=scale: torch.full_like(w, scale))  # type: ignore[misc]
    with pytest.raises(InputError, match="not finite"):
        encoder(text_projection=torch.zeros_like).encode_text(["a"])


def test_a_model_that_is_no_model_ends_in_two_lines(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from annotate.cli import main

    os.mkfifo("pipe.pt")
    Path("folder.pt").mkdir()
    Path("text.pt").write_text("hello")
    archive(Call(os.system, "touch ran"))
    for model in ("pipe.pt", "folder.pt", "text.pt", "x.pt", "photos/red/0.png", "", "a\nb", "\udcff.pt", "x" * 5000):
        monkeypatch.setattr("sys.argv", ["annotate", "embed", "photos", "--model", model])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err.splitlines()
        assert ended.value.code == 2, model
        assert [line.split(":")[0] for line in said if "(first run)" not in line] == ["error", "hint"]
    assert not Path("ran").exists()


def test_a_hostile_model_of_a_manifest_is_not_run(photos: Path) -> None:
    source = encoders.find_weights(str(archive({"text_projection": Call(os.system, "touch ran")})))
    with pytest.raises(InputError, match="more than weights"):
        encoders.load(source, device="cpu")
    with pytest.raises(InputError, match="not a CLIP model"):
        read_checkpoint(archive({"text_projection": view()}))
    assert not Path("ran").exists()
