"""``skmm check-model``: whether a language model's rows depend on what texts are batched with."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from skmm.numerics.extras import extra
from skmm_cli.errors import CommandError, UsageError, one_sentence
from skmm_cli.printing import as_json, table

_LENGTHS = (9, 4, 13, 6, 2, 11)
"""Tokens of the texts that are tried."""

_CLASSES = {
    "causal-lm": "AutoModelForCausalLM",
    "masked-lm": "AutoModelForMaskedLM",
    "cross-entropy": "AutoModelForSequenceClassification",
}
_ENDINGS = {"CausalLM": "causal-lm", "LMHeadModel": "causal-lm", "MaskedLM": "masked-lm"}


def check_model(
    model: Annotated[
        str,
        Parameter(
            help="Folder with a model's config.json and weights (random ones if it has none), "
            "or a name on the hub"
        ),
    ],
    /,
    *,
    loss: Annotated[
        str,
        Parameter(
            help="causal-lm, masked-lm or cross-entropy; unless given, what the model is for"
        ),
    ] = "",
    parameters: Annotated[
        str,
        Parameter(
            help="Names of parameters, separated by commas, * for any letters; unless given, "
            "those of the last two layers"
        ),
    ] = "",
    seed: Annotated[int, Parameter(help="Seed of texts and map")] = 0,
    json: Annotated[bool, Parameter(negative="", help="Print JSON for programs")] = False,
) -> None:
    """Checks that a model's gradients do not depend on how texts are batched.

    Rows of random texts in batches, padded on either side, padded more, in another order and with
    another implementation of attention, against those of each text on its own; and the setting
    that mends a difference.
    """
    if loss and loss not in _CLASSES:
        raise UsageError(f"--loss must be one of {', '.join(sorted(_CLASSES))}, got {loss!r}")
    with extra("transformers", needed_by="skmm check-model"):
        import transformers

        from skmm.gradients.invariance import differences
    network, loss = _loaded(transformers, model, loss)
    names = [name.strip() for name in parameters.split(",") if name.strip()] or None
    columns = _texts(network, loss, np.random.default_rng(seed))
    pad = network.config.pad_token_id or 0
    found = differences(network, columns, loss=loss, parameters=names, pad=pad, rng=seed)
    if json:
        print(as_json({"model": model, "loss": loss, "differences": found}))
        return
    print(
        table(
            [
                {
                    "arrangement": one.arrangement,
                    "difference": "-" if one.relative is None else f"{one.relative:.1e}",
                    "rows": "same" if one.same else "differ",
                    "mend": one.mend or "-",
                }
                for one in found
            ]
        )
    )


def _loaded(transformers: Any, name: str, loss: str) -> tuple[Any, str]:
    """Returns the model in single precision, and its loss."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        kind = (config.architectures or [""])[0]
        loss = loss or next((v for k, v in _ENDINGS.items() if kind.endswith(k)), "cross-entropy")
        make = getattr(transformers, _CLASSES[loss])
        try:
            return make.from_pretrained(name, dtype="float32"), loss
        except OSError:  # it has no weights
            return make.from_config(config, dtype="float32"), loss
    except (OSError, ValueError) as error:
        raise CommandError(f"{name} does not load as a model: {one_sentence(error)}") from error


def _texts(network: Any, loss: str, rng: np.random.Generator) -> dict[str, list[list[int]]]:
    """Returns random texts of several lengths, without special tokens."""
    config = network.config
    special = {config.pad_token_id, config.bos_token_id, config.eos_token_id}
    words = [word for word in range(min(config.vocab_size, 10_000)) if word not in special]
    ids = [rng.choice(words, T).tolist() for T in _LENGTHS]
    return {"input_ids": ids} | ({"labels": ids} if loss == "masked-lm" else {})
