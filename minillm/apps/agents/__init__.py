"""Agents: a loop, tools, memory, people, several agents; policies and how they are examined.

Read first: agent.py, tools.py, then group.py and speakers.py. Policies that decide in a model's place: policies/.
"""

from minillm._lazy import lazy

_ROOMS = {
    "agent": ("Agent", "Budget", "action_schema", "read_action"),
    "examination": ("Result", "TaskRun", "by_level", "examine", "injected", "prefers", "summed_up", "work"),
    "group": ("Chat", "ChatAgent", "GroupChat", "rag_agent", "says_terminate", "tool_agent"),
    "guarding": ("ToolGuard",),
    "memory": ("BothMemories", "LongMemory", "ShortMemory"),
    "notes_reader": ("FolderIndex", "ReaderPolicy", "notes_tool"),
    "odds": ("cascade", "review", "vote"),
    "page": ("save_transcript", "transcript_page"),
    "people": ("Approval", "ConsolePerson", "FinalWord", "Person", "ScriptedPerson", "ask_tool"),
    "permissions": ("AskedFor",),
    "policies": ("Declining", "Obedient", "Oracle", "Policy", "RoutedPolicy", "TrainedPolicy"),
    "repair": ("ScriptedRepair", "SearchPolicy", "patches"),
    "speakers": ("Speakers",),
    "studio": ("LookPolicy", "Studio"),
    "toolkit": ("calculator", "clock_tool", "folder_tools", "python_tool", "search_tool", "sql_tool"),
    "tools": ("Observation", "Tool", "Toolbox", "schema_of", "tool", "tool_from"),
    "transcript": ("Run", "State", "Step"),
    "workshop": ("Workshop", "executor_agent", "keeps_tests", "workshop_tools"),
}
# Who only reads a transcript waits for no torch.
__getattr__, __dir__, __all__ = lazy(__name__, _ROOMS)
