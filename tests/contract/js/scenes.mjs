// What users of `replicate` 1.4.0 do, each scene by its name; prints what it saw as one line of JSON.
//   node scenes.mjs SCENE        (REPLICATE_BASE_URL without /v1, REPLICATE_API_TOKEN)
import Replicate from "replicate";

const replicate = new Replicate({ baseUrl: `${process.env.REPLICATE_BASE_URL}/v1` });

async function collect(events) {
  const seen = [];
  for await (const { event, data } of events) seen.push({ event, data });
  return seen;
}

async function thrown(call) {
  try {
    return { returned: await call() };
  } catch (error) {
    return { name: error.name, message: error.message, status: error.response?.status };
  }
}

const scenes = {
  run: () => replicate.run("samovar/hello-world", { input: { text: "Ann" } }),
  poll: () => replicate.run("samovar/hello-world", { input: { text: "Ann" }, wait: { mode: "poll", interval: 50 } }),
  iterate: () => replicate.run("samovar/count", { input: { n: 3 } }),
  stream: () => collect(replicate.stream("samovar/count", { input: { n: 4 } })),
  async text() {
    const input = { prompt: "What is the capital of France? Answer in one sentence.", temperature: 0, max_tokens: 30 };
    return collect(replicate.stream("samovar/smollm2", { input }));
  },
  async list() {
    const made = await replicate.predictions.create({ model: "samovar/hello-world", input: { text: "listed" } });
    const pages = [];
    for await (const page of replicate.paginate(replicate.predictions.list)) {
      pages.push(page.length);
      if (page.some((prediction) => prediction.id === made.id)) return { found: true };
    }
    return { found: false, pages };
  },
  async cancel() {
    const made = await replicate.predictions.create({ model: "samovar/count", input: { n: 1, delay: 60 } });
    await replicate.predictions.cancel(made.id);
    const ended = await replicate.wait(made, { interval: 50 });
    return ended.status;
  },
  async abort() {
    const controller = new AbortController();
    const running = replicate.run(
      "samovar/count",
      { input: { n: 1, delay: 60 }, wait: { mode: "poll", interval: 50 }, signal: controller.signal },
      (prediction) => prediction.status === "processing" && controller.abort(),
    );
    return thrown(() => running);
  },
  async models() {
    const model = await replicate.models.get("samovar", "hello-world");
    const version = await replicate.models.versions.get("samovar", "hello-world", model.latest_version.id);
    const listed = await replicate.models.list();
    const versions = await replicate.models.versions.list("samovar", "hello-world");
    return {
      owner: model.owner,
      name: model.name,
      required: version.openapi_schema.components.schemas.Input.required,
      listed: listed.results.map(({ name }) => name),
      versions: (versions.results ?? versions).length,
      account: (await replicate.accounts.current()).username,
    };
  },
  failure: () => thrown(() => replicate.run("samovar/speaker", { input: { fail: true } })),
  invalid: () => thrown(() => replicate.run("samovar/echo", { input: {} })),
  missing: () => thrown(() => replicate.models.get("samovar", "nothing")),
  brokenStream: () => thrown(() => collect(replicate.stream("samovar/parts", { input: { parts: '["a"]', fail: true } }))),
};

console.log(JSON.stringify((await scenes[process.argv[2]]()) ?? null));
