// One client of the Node SDK, commanded over standard input and output: a JSON object a line.
//
// in:  {"id": 1, "op": "open", ...}    out: {"id": 1, "result": ...} or {"id": 1, "error": "..."}
// What the client hears comes as {"event": "message" | "desired" | "input" | "method", ...}.
'use strict';

const readline = require('readline');
const { Client, ModuleClient, Message } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');

const METHODS = ['reset', 'again'];
const METHOD_STATUS = 207;
let client;
let twin;

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');

// The SDK's console chatter must not get between the lines.
console.log = console.error;

const properties = (message) =>
  Object.fromEntries(message.properties.propertyList.map(({ key, value }) => [key, value]));

function heard(event, message, more) {
  say({
    event,
    body: message.getData().toString(),
    properties: properties(message),
    message_id: message.messageId || '',
    ...more,
  });
}

const ops = {
  async open({ connection_string, module, ws, ca, token_ttl_s, messages }) {
    const kind = module ? ModuleClient : Client;
    client = kind.fromConnectionString(connection_string, ws ? MqttWs : Mqtt);
    client.on('error', (error) => console.error(error));
    const options = { ca };
    if (token_ttl_s) {
      options.tokenRenewal = { tokenValidTimeInSeconds: token_ttl_s, tokenRenewalMarginInSeconds: token_ttl_s - 5 };
    }
    await client.setOptions(options);
    // What waited comes at once, to a session that is restored.
    if (messages) await ops.listen({ messages });
    await client.open();
  },
  async listen({ messages, inputs, methods }) {
    if (messages) {
      client.on('message', (message) => {
        heard('message', message);
        client.complete(message, () => {});
      });
    }
    if (inputs) {
      client.on('inputMessage', (input, message) => {
        heard('input', message, { input });
        client.complete(message, () => {});
      });
    }
    for (const name of methods ? METHODS : []) {
      const register = client.onDeviceMethod ? client.onDeviceMethod : client.onMethod;
      register.call(client, name, (request, response) => {
        response.send(METHOD_STATUS, { method: name, payload: request.payload === undefined ? null : request.payload });
      });
    }
  },
  async send({ body, properties: given, message_id, output }) {
    const message = new Message(body);
    message.messageId = message_id;
    for (const [key, value] of Object.entries(given || {})) message.properties.add(key, value);
    await (output ? client.sendOutputEvent(output, message) : client.sendEvent(message));
  },
  async twin() {
    if (twin) {
      await new Promise((resolve, reject) => twin.get((error) => (error ? reject(error) : resolve())));
    } else {
      twin = await client.getTwin();
      twin.on('properties.desired', (delta) => say({ event: 'desired', patch: JSON.parse(JSON.stringify(delta)) }));
    }
    const { desired, reported } = JSON.parse(JSON.stringify(twin.properties));
    delete reported.update;
    return { desired, reported };
  },
  report({ patch }) {
    return new Promise((resolve, reject) =>
      twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve(null))),
    );
  },
  invoke({ device, module, name, payload }) {
    const call = { methodName: name, payload, responseTimeoutInSeconds: 15, connectTimeoutInSeconds: 15 };
    return new Promise((resolve, reject) => {
      const done = (error, result) => (error ? reject(error) : resolve({ status: result.status, payload: result.payload }));
      if (module) client.invokeMethod(device, module, call, done);
      else client.invokeMethod(device, call, done);
    });
  },
  async close() {
    await client.close();
    setTimeout(() => process.exit(0), 100);
  },
};

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const order = JSON.parse(line);
  try {
    const result = await ops[order.op](order);
    say({ id: order.id, result: result === undefined ? null : result });
  } catch (error) {
    say({ id: order.id, error: String(error) });
  }
});
