import {createSocket} from 'node:dgram';
import type {HostPort} from '../../shared/settings.js';

/** The address by which this machine reaches a peer, as its routes say; nothing is sent. */
export function addressTowards({host, port}: HostPort): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const fail = (error: Error): void => {
      socket.close();
      reject(new Error(`finding the address that reaches ${host}; give it with --node-address`, {cause: error}));
    };
    socket.once('error', fail);
    socket.connect(port || 1, host, (error?: Error) => {
      if (error) return fail(error);
      const {address} = socket.address();
      socket.close();
      resolve(address);
    });
  });
}
