from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from tiny import image, random_navigator

from semla_ros.errors import BundleError, ImageError
from semla_ros.images.files import write_image
from semla_ros.library.captioner import Captioner, typical_image

transformers = pytest.importorskip("transformers")
WORDS = ("<pad>", "<s>", "</s>", "<image>", "<unk>", "a", "street", "at", "night")


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BLIP-2 with random weights, a few thousand of them."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    folder = tmp_path_factory.mktemp("blip2")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        "model_type": "opt", "vocab_size": len(WORDS), "hidden_size": 16, "ffn_dim": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "word_embed_proj_dim": 16, "max_position_embeddings": 128,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    config = transformers.Blip2Config(
        vision_config={**small, "image_size": 16, "patch_size": 8},
        qformer_config={**small, "encoder_hidden_size": 16, "vocab_size": len(WORDS)},
        text_config=text, num_query_tokens=2, image_token_index=3,
    )  # fmt: skip
    transformers.set_seed(0)
    transformers.Blip2ForConditionalGeneration(config).save_pretrained(folder)
    words = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    processor = transformers.BlipImageProcessor(size={"height": 16, "width": 16})
    transformers.Blip2Processor(processor, tokenizer, num_query_tokens=2).save_pretrained(folder)
    return folder


def test_a_blip_2_of_local_files_captions_an_image(blip: Path) -> None:
    captioner = Captioner(blip)
    caption = captioner.caption(image("red"))
    assert set(caption.split()) <= set(WORDS)
    assert captioner.caption(image("red")) == caption


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no captioner \(.*\): expected a folder with config.json"):
        Captioner(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BundleError, match="unreadable captioner"):
        Captioner(tmp_path)


def test_code_in_the_folder_is_never_run(blip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))  # what somebody may answer to a question of transformers
    code = f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n"
    code += "from transformers import PretrainedConfig\nclass C(PretrainedConfig):\n    model_type = 'evil'\n"
    for file in blip.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "evil.py").write_text(code)
    for name in ("config.json", "processor_config.json"):
        content = json.loads((tmp_path / name).read_text())
        content |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoProcessor": "evil.C"}}
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(BundleError, match="unreadable captioner"):
        Captioner(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_the_typical_image_is_the_one_nearest_to_the_centroid(tmp_path: Path) -> None:
    navigator, paths = random_navigator(), []
    for name in ("red", "green", "blue"):
        write_image(tmp_path / f"{name}.png", image(name))
        paths.append(tmp_path / f"{name}.png")
    (tmp_path / "cut.png").write_bytes(b"cut")
    centroid = navigator.embed(image("green", seed=5))
    assert (typical_image([tmp_path / "cut.png", *paths], centroid, navigator) == image("green")).all()
    with pytest.raises(ImageError, match="no readable image"):
        typical_image([tmp_path / "cut.png"], np.zeros(8), navigator)
