// A process that strives for leadership and, once a line on stdin asks for it, tries one fenced write. It tells on stdout what happens.
// Arguments: the folder of the compiled code, etcd's endpoint, the key prefix, its name, the TTL in seconds.
import {createInterface} from 'node:readline';

const [dist, endpoint, prefix, name, ttl] = process.argv.slice(2);
const {etcdClient} = await import(`${dist}/coordinator/adapters/etcdClient.js`);
const {EtcdLeadership} = await import(`${dist}/coordinator/adapters/etcdLeadership.js`);
const {EtcdStore} = await import(`${dist}/coordinator/adapters/etcdStore.js`);
const {systemClock} = await import(`${dist}/shared/clock.js`);
const {silentLog} = await import(`${dist}/shared/log.js`);

const client = etcdClient({endpoints: [endpoint]});
const store = new EtcdStore(client, systemClock);
const leadership = new EtcdLeadership({client, key: `${prefix}leader`, name, clock: systemClock, log: silentLog, ttlSeconds: Number(ttl)});
const tell = what => process.stdout.write(`${what}\n`);
const abort = new AbortController();
process.on('SIGTERM', () => abort.abort());

let won;
leadership.onChange(() => {
  won = leadership.fence() ?? won;
  tell(leadership.fence() === undefined ? 'not leading' : `leading ${leadership.fence().revision}`);
});

async function write(fence) {
  const comparison = {key: fence.key, target: 'create', revision: fence.revision};
  const {succeeded} = await store.transact([comparison], [{kind: 'put', key: `${prefix}written`, value: name}]);
  return succeeded;
}

createInterface({input: process.stdin}).on('line', async line => {
  const fence = line === 'write as if nothing had happened' ? won : leadership.fence();
  tell(fence === undefined ? 'may not write' : (await write(fence)) ? 'wrote' : 'refused');
});

await leadership.run(abort.signal);
client.close();
process.exit(0);
