"""The kinds of cloro's tasks."""

from typing import Literal, get_args

TaskType = Literal[
    "AIMODE", "GOOGLE", "GOOGLE_NEWS", "GEMINI", "CHATGPT", "COPILOT", "PERPLEXITY", "GROK"
]
TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)
