"""The language model that generative finetuning trains."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .anatomy import TransformersModel, logits, run_causally


class LanguageModel(nn.Module):
    """A body and its unembedding, scoring texts token by token.

    Args:
        body: of the language model, as a method trains it.
        lm: the language model, whose own forward pass computes logits.
    """

    def __init__(self, body: nn.Module, lm: TransformersModel):
        super().__init__()
        self.body = body
        self.unembedding = lm.get_output_embeddings()
        # in a tuple, so that its parameters are not counted as this module's
        self._lm = (lm,)
        self.head = nn.Identity()  # there is no head with a learning rate of its own

    def forward(self, *, targets, predicted, ends, **inputs) -> torch.Tensor:
        """Computes negative log-likelihoods of texts.

        Args:
            targets: (b, t), the token after each; -1 if none is to be predicted, as on padding,
                which is on the right.
            predicted: (m,), positions in `targets`, read row by row, of the tokens that are to be
                predicted. On a GPU the host would wait to find them.
            ends: (b, 1), position of the last token of each text.
            inputs: `input_ids` (b, t), or `inputs_embeds` (b, t, d).
        Returns:
            (b, 2) float32: the sum over the predicted tokens, in nats, and their number.
        """
        hidden = run_causally(self.body, ends, **inputs)
        text = predicted // targets.shape[1]  # the row in the batch of each predicted token
        states = hidden[text, predicted % targets.shape[1]]
        own_logits = logits(self._lm[0], states).float()
        nats = F.cross_entropy(own_logits, targets.flatten()[predicted], reduction="none")
        total = torch.zeros(len(targets), device=nats.device).index_add(0, text, nats)
        return torch.stack([total, (targets >= 0).sum(dim=1)], dim=1)
