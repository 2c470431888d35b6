// A module as the Node SDK finds itself in a container: sends its first argument to the output `out`, prints
// what arrives at its inputs, and ends.
'use strict';

const { ModuleClient, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const print = console.log;
// The SDK's console chatter must not get between.
console.log = console.error;

async function main() {
  const client = await ModuleClient.fromEnvironment(Mqtt);
  client.on('error', (error) => console.error(error));
  await client.open();
  const arrived = new Promise((resolve) => {
    client.on('inputMessage', (input, message) => {
      client.complete(message, () => resolve(`${input} ${message.getData()}`));
    });
  });
  await client.sendOutputEvent('out', new Message(process.argv[2]));
  print(await arrived);
  await client.close();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  }
);
