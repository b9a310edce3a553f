/** What is wrong with the object store in an operator's words, with the key of the configuration to look at. */
import { GatewayError } from '../../base/errors.ts'

interface StorePlace {
  readonly endpoint: string
  readonly bucket: string
  readonly region: string
}

/** @param step what was being done, where that says more */
export function storeError(error: unknown, { endpoint, bucket, region }: StorePlace, step: string | null = null) {
  if (error instanceof GatewayError) return error
  const what = step === null ? '' : `${step}: `
  return new GatewayError('IO', { reason: `object store: ${what}${adviceFor(error, endpoint, bucket, region)}` }, error)
}

function adviceFor(error: unknown, endpoint: string, bucket: string, region: string): string {
  const name = nameOf(error)
  const code = (error as NodeJS.ErrnoException).code
  switch (name) {
    case 'NoSuchBucket':
      return `no bucket "${bucket}": create it, or correct now.s3.bucket`
    case 'InvalidAccessKeyId':
    case 'SignatureDoesNotMatch':
    case 'InvalidClientTokenId':
      return `the credentials are refused (${name}): check now.s3.credentials`
    case 'AccessDenied':
      return `access to bucket "${bucket}" is denied: give these credentials get, put, delete and list on it`
    case 'PermanentRedirect':
    case 'AuthorizationHeaderMalformed':
      return `bucket "${bucket}" is not in region "${region}": correct now.s3.region`
    case 'RequestTimeTooSkewed':
      return 'this machine’s clock is wrong'
    default:
      if (code !== undefined && /^E[A-Z]+$/.test(code))
        return `${endpoint} cannot be reached (${code}): check now.s3.endpoint`
      // To a HEAD a store gives no reason.
      if (statusOf(error) === 403)
        return `access to bucket "${bucket}" is refused: check now.s3.credentials, and that these may get, put, delete and list on it`
      return `${name} ${statusOf(error) ?? ''}`.trim()
  }
}

export function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : 'unknown'
}

export function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
}
