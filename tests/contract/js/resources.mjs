// Every method that `replicate` 1.4.0 has for the resources of the API; prints what each scene saw, as one line of JSON.
//   node resources.mjs        (REPLICATE_BASE_URL without /v1, REPLICATE_API_TOKEN)
import { createServer } from "node:http";
import { once } from "node:events";
import Replicate, { validateWebhook } from "replicate";

const replicate = new Replicate({ baseUrl: `${process.env.REPLICATE_BASE_URL}/v1` });
const unique = () => `made-${Math.random().toString(36).slice(2, 10)}`;
const status = (call) => call().then(() => 200, (error) => error.response?.status);
const version = async (name) => (await replicate.models.get("samovar", name)).latest_version.id;

async function until(read) {
  for (;;) {
    const seen = await read();
    if (["succeeded", "failed", "canceled"].includes(seen.status)) return seen;
  }
}

const scenes = {
  async account() {
    const found = await replicate.accounts.current();
    return [found.type, found.username];
  },
  async hardware() {
    return (await replicate.hardware.list()).map(({ sku }) => sku).includes("cpu");
  },
  async collections() {
    const listed = (await replicate.collections.list()).results.map(({ slug }) => slug);
    const found = await replicate.collections.get("greeters");
    return [listed.includes("greeters"), found.models.map(({ name }) => name)];
  },
  async files() {
    const made = await replicate.files.create(new Blob(["a note"], { type: "text/plain" }), { ticket: 7 });
    const listed = (await replicate.files.list()).results.map(({ id }) => id);
    const found = await replicate.files.get(made.id);
    const gone = await replicate.files.delete(made.id);
    return [found.content_type, found.size, found.metadata, listed.includes(made.id), gone];
  },
  async models() {
    const name = unique();
    const made = await replicate.models.create("samovar", name, {
      visibility: "private",
      hardware: "cpu",
      description: "An okapi of a model",
    });
    const found = (await replicate.models.search("okapi")).results.map((model) => model.name);
    const versions = await replicate.models.versions.list("samovar", name);
    const taken = await status(() => replicate.models.create("samovar", name, { visibility: "private", hardware: "cpu" }));
    await replicate.request(`/models/samovar/${name}`, { method: "DELETE" });
    return [made.visibility, found.includes(name), (versions.results ?? versions).length, taken];
  },
  async predictions() {
    const made = await replicate.predictions.create({ version: await version("hello-world"), input: { text: "Ann" }, wait: 10 });
    const found = await replicate.predictions.get(made.id);
    const listed = (await replicate.predictions.list()).results.map(({ id }) => id);
    const again = await replicate.predictions.cancel(made.id);
    return [found.output, listed.includes(made.id), again.status];
  },
  async deployments() {
    const name = unique();
    const made = await replicate.deployments.create({
      name,
      model: "samovar/hello-world",
      version: await version("hello-world"),
      hardware: "cpu",
      min_instances: 0,
      max_instances: 1,
    });
    const ran = await replicate.deployments.predictions.create("samovar", name, { input: { text: "Ann" }, wait: 30 });
    const changed = await replicate.deployments.update("samovar", name, { max_instances: 2 });
    const found = await replicate.deployments.get("samovar", name);
    const listed = (await replicate.deployments.list()).results.map((each) => each.name);
    const gone = await replicate.deployments.delete("samovar", name);
    const numbers = [made, changed, found].map(({ current_release }) => current_release.number);
    return [numbers, ran.output, listed.includes(name), gone];
  },
  async trainings() {
    const name = unique();
    await replicate.models.create("samovar", name, { visibility: "public", hardware: "cpu" });
    const made = await replicate.trainings.create("samovar", "trainer", await version("trainer"), {
      destination: `samovar/${name}`,
      input: { greeting: "servus" },
    });
    const ended = await until(() => replicate.trainings.get(made.id));
    const listed = (await replicate.trainings.list()).results.map(({ id }) => id);
    const output = await replicate.run(ended.output.version, { input: { name: "Ann" } });
    const late = await replicate.trainings.cancel(made.id);
    await replicate.request(`/models/samovar/${name}`, { method: "DELETE" });
    return [ended.status, listed.includes(made.id), output, late.status];
  },
  async webhook() {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const [{ key }, made] = await Promise.all([
      replicate.webhooks.default.secret.get(),
      replicate.predictions.create({
        model: "samovar/hello-world",
        input: { text: "Ann" },
        webhook: `http://127.0.0.1:${server.address().port}/`,
        webhook_events_filter: ["completed"],
      }),
    ]);
    const [request, response] = await once(server, "request");
    const body = (await request.toArray()).join("");
    response.end();
    const header = (name) => request.headers[`webhook-${name}`];
    const valid = await validateWebhook({
      id: header("id"),
      timestamp: header("timestamp"),
      signature: header("signature"),
      body,
      secret: key,
    });
    server.close();
    server.closeAllConnections();
    return [valid, JSON.parse(body).id === made.id, JSON.parse(body).status];
  },
};

const seen = {};
for (const [name, scene] of Object.entries(scenes)) {
  try {
    seen[name] = { saw: await scene() };
  } catch (error) {
    seen[name] = { error: `${error.stack}` };
  }
}
console.log(JSON.stringify(seen));
