/** Where each record lies. One prefix a cluster, so that several clusters (and tests) can share an etcd. */
export class Keys {
  /** `root` without slashes at its ends. */
  constructor(readonly root = 'tenfold') {}

  /** Everything of this cluster. */
  get prefix(): string {
    return `${this.root}/`;
  }
  get leader(): string {
    return `${this.root}/leader`;
  }
  job(jobId: string): string {
    return `${this.root}/jobs/${jobId}`;
  }
  plan(jobId: string, attempt: number): string {
    return `${this.root}/plans/${jobId}/${String(attempt).padStart(6, '0')}`;
  }
  node(nodeId: string): string {
    return `${this.root}/nodes/${nodeId}`;
  }
  dataset(datasetId: string): string {
    return `${this.root}/datasets/${datasetId}`;
  }
  checkpoint(jobId: string, step: number): string {
    return `${this.root}/checkpoints/${jobId}/${String(step).padStart(12, '0')}`;
  }
  /** `path` is the artifact's path within the run folder. */
  artifact(jobId: string, path: string): string {
    return `${this.root}/artifacts/${jobId}/${encodeURIComponent(path)}`;
  }
  /** Holds the id of what the request created. */
  request(requestId: string): string {
    return `${this.root}/requests/${encodeURIComponent(requestId)}`;
  }

  /** The parts of a key below the root, its collection first; undefined for keys of others. */
  parts(key: string): string[] | undefined {
    return key.startsWith(this.prefix) ? key.slice(this.prefix.length).split('/').map(decodeURIComponent) : undefined;
  }
}
