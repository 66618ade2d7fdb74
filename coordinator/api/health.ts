import type {Server} from 'nice-grpc';
import {HealthDefinition, HealthServiceImpl, HealthState} from 'nice-grpc-server-health';

/** grpc.health.v1: the whole server under the empty name, and each service under its own. */
export class Health {
  private readonly state = HealthState();

  constructor(private readonly serviceNames: readonly string[]) {
    this.set('unhealthy');
  }

  addTo(server: Pick<Server, 'add'>): void {
    server.add(HealthDefinition, HealthServiceImpl(this.state));
  }

  /** `unhealthy` while starting and stopping: load balancers and probes look elsewhere. */
  set(status: 'healthy' | 'unhealthy'): void {
    this.state.setStatus(status);
    for (const name of this.serviceNames) this.state.setStatus(status, name);
  }
}
