import type {ServerCredentials} from '@grpc/grpc-js';
import {createServer, type Server} from 'nice-grpc';
import {errorDetailsServerMiddleware} from 'nice-grpc-error-details';
import {AgentServiceDefinition, type AgentServiceImplementation} from '../../shared/gen/tenfold/v1/agent.js';
import {ClusterServiceDefinition} from '../../shared/gen/tenfold/v1/cluster.js';
import {DatasetServiceDefinition} from '../../shared/gen/tenfold/v1/dataset.js';
import {JobServiceDefinition} from '../../shared/gen/tenfold/v1/job.js';
import {enlargeReceiveWindows, serverOptions} from '../../shared/grpc.js';
import {type HostPort, showHostPort} from '../../shared/settings.js';
import {answeredByLeader} from './answeredByLeader.js';
import {ClusterService} from './clusterService.js';
import {DatasetService} from './datasetService.js';
import {errorStatuses} from './errors.js';
import {Health} from './health.js';
import {JobService} from './jobService.js';
import type {ApiParts} from './parts.js';
import {RateCap, type RateLimit, rateCapped} from './rateCap.js';
import {addReflection} from './reflection.js';

export interface ApiServerParts {
  readonly api: ApiParts;
  readonly agents: AgentServiceImplementation;
  readonly rateLimit: RateLimit;
}

const SERVICES = [JobServiceDefinition, ClusterServiceDefinition, DatasetServiceDefinition, AgentServiceDefinition];
const SERVICE_NAMES = SERVICES.map(({fullName}) => fullName);

/** The gRPC server with all its services. */
export class ApiServer {
  private readonly server: Server;
  private readonly health = new Health(SERVICE_NAMES);

  constructor({api, agents, rateLimit}: ApiServerParts) {
    enlargeReceiveWindows();
    this.server = createServer(serverOptions)
      .use(errorDetailsServerMiddleware)
      .use(errorStatuses(api.log))
      .use(rateCapped(new RateCap(rateLimit), api.clock.monotonic))
      .use(answeredByLeader(api.leadership));
    this.server.add(JobServiceDefinition, new JobService(api));
    this.server.add(ClusterServiceDefinition, new ClusterService(api));
    this.server.add(DatasetServiceDefinition, new DatasetService(api));
    this.server.add(AgentServiceDefinition, agents);
    this.health.addTo(this.server);
    addReflection(this.server, SERVICE_NAMES);
  }

  /** Resolves with the port, which is another than asked for when that was 0. */
  async listen(address: HostPort, credentials: ServerCredentials): Promise<number> {
    try {
      const port = await this.server.listen(showHostPort(address), credentials);
      this.health.set('healthy');
      return port;
    } catch (cause) {
      throw new Error(`listening on ${showHostPort(address)}`, {cause});
    }
  }

  /** Lets unary calls finish for a moment, then ends the streams: watchers and agents come again to whoever serves next. */
  async close(graceMs: number): Promise<void> {
    this.health.set('unhealthy');
    const timer = setTimeout(() => this.server.forceShutdown(), graceMs);
    await this.server.shutdown();
    clearTimeout(timer);
  }
}
