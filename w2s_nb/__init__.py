"""w2s_nb: a research kit for weak-to-strong generalization (Burns et al. 2023, arXiv 2312.09390)."""
from .answering import zero_shot
from .arms import Arms, by_labels, by_seed_of, pgr, run_arms, table_of, tables_by
from .baselines import by_shots, probes_by_depth, run_saliency, with_prompts
from .data import Split, Task, load_task
from .exploring import differences, explore
from .fits import AnswerFit, Fit
from .fitting import fit
from .generative import LanguageFit, Tuned, finetune_lm, perplexity
from .labels import Answers, SoftLabels, combine, simulate
from .losses import register_loss
from .models import resolve
from .notebook import Run, setup
from .probing import Features, features
from .prompting import prompt
from .recipes import METHODS, Recipe
from .registry import LOSSES, MODELS, TASKS
from .scoring import rewards
from .solving import answer_table, by_difficulty, by_theme, disagreements, easy_to_hard, with_zero_shot
from .store import results
from .stored import recovered
from .studies import Chain, confident, matched, run_chain, run_generative, taught_by
from .sweeps import run_sweep as sweep
from .tasks import Example, Hub, Prompt, register_task
from .tokens import split_report
from .variants import swapped, with_opinion

__all__ = ["AnswerFit", "Answers", "Arms", "Chain", "Example", "Features", "Fit", "Hub", "LOSSES", "LanguageFit",
           "METHODS", "MODELS", "Prompt", "Recipe", "Run", "SoftLabels", "Split", "TASKS", "Task", "Tuned",
           "answer_table", "by_difficulty", "by_labels", "by_seed_of", "by_shots", "by_theme", "combine", "confident",
           "differences", "disagreements", "easy_to_hard", "explore", "features", "finetune_lm", "fit", "load_task",
           "matched", "perplexity", "pgr", "probes_by_depth", "prompt", "recovered", "register_loss", "register_task",
           "resolve", "results", "rewards", "run_arms", "run_chain", "run_generative", "run_saliency", "setup",
           "simulate", "split_report", "swapped", "sweep", "table_of", "tables_by", "taught_by", "with_opinion",
           "with_prompts", "with_zero_shot", "zero_shot"]
