from cog import BaseRunner, Input


class Runner(BaseRunner):
    def setup(self) -> None:
        self.prefix = "hello "

    def run(self, text: str = Input(description="Who.")) -> str:
        return self.prefix + text
