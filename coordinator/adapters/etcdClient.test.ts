import {promises as dns} from 'node:dns';
import {afterEach, expect, it, vi} from 'vitest';
import {etcdClient} from './etcdClient.js';

afterEach(() => void vi.restoreAllMocks());

it('the name of an endpoint is looked up for its addresses alone: a TXT query that nobody answers would outlive the process', async () => {
  const lookup = vi.spyOn(dns, 'lookup').mockResolvedValue([{address: '127.0.0.1', family: 4}] as never);
  const asked = vi.spyOn(dns, 'resolveTxt').mockRejectedValue(new Error('no name server'));
  const client = etcdClient({endpoints: ['http://head:1']});
  try {
    await expect(client.get('key')).rejects.toThrow();
    expect(lookup).toHaveBeenCalled();
    expect(asked).not.toHaveBeenCalled();
  } finally {
    client.close();
  }
});
