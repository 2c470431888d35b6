// aedes with one listener. Usage: node broker.mjs SETTINGS.json
// Settings: host, port, users (name to password), and for TLS cert and key (files).
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import { Aedes } from 'aedes'

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const broker = await Aedes.createBroker({
  authenticate: (client, name, password, done) =>
    done(null, settings.users[name] === password?.toString())
})
const server = settings.cert
  ? tls.createServer({ cert: readFileSync(settings.cert), key: readFileSync(settings.key) }, broker.handle)
  : net.createServer({ noDelay: true }, broker.handle)
server.listen(settings.port, settings.host)
