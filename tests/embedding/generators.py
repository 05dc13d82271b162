"""Generators that a host brings along."""

from chatledger import Finish, GeneratorError, Retrieved, SettingsError, Text, TokenCount


class Counting:
    """Counts the words of the question, of its inputs and of what was said before."""

    name = "counting"
    repeatable = True

    def __init__(self):
        self.closed = 0
        self.asked = []

    def check_settings(self, settings):
        for name in settings:
            if name != "unit":
                raise SettingsError(f"{name}: no such setting")

    def settings_for(self, query, settings):
        return settings

    async def generate(self, request):
        self.asked.append(request)
        before = await request.history()
        words = sum(len(exchange.query.split()) for exchange in before) + len(request.query.split())
        yield Text(str(words))
        yield Text(f" {request.settings.get('unit', 'words')}")
        yield TokenCount(words, 2)
        yield Finish("length")

    async def close(self):
        self.closed += 1


class Failing(Counting):
    """Fails as it is told by the question."""

    name = "failing"

    async def generate(self, request):
        match request.query.split():
            case ["part"]:
                yield "no part of an answer"
            case ["text"]:
                yield Text(5)
            case ["surrogate"]:
                yield Text("half of a pair: \ud83d")
            case ["reason"]:
                yield Finish("done")
            case ["count"]:
                yield TokenCount("three", 4)
            case ["resources"]:
                yield Retrieved(("a passage",))
            case ["bug"]:
                raise ZeroDivisionError("the host's own secret")
            case ["timeout"]:
                raise TimeoutError("the host's own")
            case [kind]:
                raise GeneratorError(kind, "the provider's words")
        yield Text("never said")


class Writing(Counting):
    """Has a model beside its answers, which may fail."""

    name = "writing"

    def check_settings(self, settings):
        pass

    def text_model(self, settings):
        if settings.get("model") == "broken":
            raise ZeroDivisionError("the host's own secret")

        async def write(request):
            if settings.get("model") == "failing":
                raise ZeroDivisionError("the host's own secret")
            return "Counting words" if request.purpose == "title" else '["And letters?"]'

        return write
