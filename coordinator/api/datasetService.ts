import {randomBytes} from 'node:crypto';
import type {CallContext} from 'nice-grpc';
import type {DatasetRecord} from '../../shared/dataset.js';
import {invalid, notFound} from '../../shared/errors.js';
import type * as pb from '../../shared/gen/tenfold/v1/dataset.js';
import {idFromResourceName} from '../../shared/ids.js';
import {datasetToProto} from '../../shared/wire/dataset.js';
import type {Versioned} from '../core/snapshot.js';
import {pageOf} from './opaqueToken.js';
import type {ApiParts} from './parts.js';
import {verifyDataset} from './verifyDataset.js';

const MAX_REQUEST_ID = 128;

/** DatasetService. */
export class DatasetService implements pb.DatasetServiceImplementation {
  constructor(private readonly parts: ApiParts) {}

  async createDataset(request: pb.CreateDatasetRequest, {signal}: CallContext): Promise<pb.Dataset> {
    if (request.source === '') throw invalid({path: 'source', message: 'is required: the path of a data.yaml'});
    if (request.requestId.length > MAX_REQUEST_ID)
      throw invalid({path: 'request_id', message: `must not be longer than ${MAX_REQUEST_ID} characters`});
    const requestId = `datasets.${request.requestId || randomBytes(16).toString('hex')}`;
    const {datasetId, source, skipBadSamples} = request;
    const {id} = await this.parts.datasets.create({id: datasetId || undefined, source, requestId, skipBadSamples}, signal);
    return this.view(this.record(`datasets/${id}`));
  }

  async getDataset(request: pb.GetDatasetRequest): Promise<pb.Dataset> {
    return this.view(this.record(request.name));
  }

  async listDatasets(request: pb.ListDatasetsRequest): Promise<pb.ListDatasetsResponse> {
    const datasets = [...this.parts.state.datasets.values()].sort((a, b) => (a.value.id < b.value.id ? -1 : 1));
    const {page, nextPageToken} = pageOf(datasets, request, {
      purpose: 'ListDatasets',
      subject: '',
      keyOf: ({value}) => value.id,
      bytesOf: ({value}) => JSON.stringify(value).length,
      isAfter: ({value}, key) => value.id > key,
    });
    return {datasets: page.map(dataset => this.view(dataset)), nextPageToken};
  }

  verifyDataset(request: pb.VerifyDatasetRequest, {signal}: CallContext): AsyncGenerator<pb.VerifyDatasetResponse> {
    return verifyDataset(this.parts.objects, this.record(request.name).value, signal);
  }

  private record(name: string): Versioned<DatasetRecord> {
    const id = idFromResourceName('datasets', name);
    const record = id === undefined ? undefined : this.parts.state.datasets.get(id);
    if (record === undefined) throw notFound('dataset', id === undefined ? JSON.stringify(name.slice(0, 80)) : `datasets/${id}`);
    return record;
  }

  private view({value, modRevision}: Versioned<DatasetRecord>): pb.Dataset {
    return datasetToProto(value, {modRevision, scan: this.parts.datasets.scan(value.id)});
  }
}
