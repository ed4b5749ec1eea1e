# ruby -I STUBS tour.rb PROCESS_GUID
#
# Goes through what clients do: ping, domains, an LRP and its events, a filtered list, a refusal, a task. The server is that of
# BBS_URL; with https, CA_CERT_FILE, CLIENT_CERT_FILE and CLIENT_KEY_FILE name the files. What it has made it removes again.

require_relative "bbs_client"

DOMAIN = "stubs"
GUID = ARGV.fetch(0)

# --8<-- [start:tour]
def run_action(path)
  Models::Action.new(run_action: Models::RunAction.new(path: path, user: "vcap"))
end

def lrp
  Models::DesiredLRP.new(
    process_guid: GUID,
    domain: DOMAIN,
    root_fs: "preloaded:cflinuxfs4",
    instances: 2,
    memory_mb: 64,
    disk_mb: 128,
    log_guid: GUID,
    metric_tags: { "source_id" => Models::MetricTagValue.new(static: GUID) },
    action: run_action("/bin/app")
  )
end

def desire(bbs)
  bbs.call("/v1/desired_lrp/desire.r2", Models::DesireLRPRequest.new(desired_lrp: lrp), Models::DesiredLRPLifecycleResponse)
end

def show_events(bbs, count)
  bbs.events("/v1/events/lrp_instances.r1", subscribed: -> { desire(bbs) }) do |name, event|
    case event
    when Models::DesiredLRPCreatedEvent
      puts "#{name} #{event.desired_lrp.process_guid}"
    when Models::ActualLRPInstanceCreatedEvent
      puts "#{name} #{event.actual_lrp.actual_lrp_key.process_guid}/#{event.actual_lrp.actual_lrp_key.index}"
    end
    count -= 1
    break if count.zero?
  end
end

def show_task(bbs)
  definition = Models::TaskDefinition.new(
    root_fs: "preloaded:cflinuxfs4", memory_mb: 64, disk_mb: 128, action: run_action("/bin/work")
  )
  request = Models::DesireTaskRequest.new(task_guid: GUID, domain: DOMAIN, task_definition: definition)
  bbs.call("/v1/tasks/desire.r2", request, Models::TaskLifecycleResponse)
  list = lambda do
    bbs.call("/v1/tasks/list.r3", Models::TasksRequest.new(domain: DOMAIN), Models::TasksResponse).tasks.each do |task|
      puts "task #{task.task_guid} is #{task.state} #{task.failure_reason}".rstrip
    end
  end
  list.call
  %w[cancel resolving delete].each do |step|
    bbs.call("/v1/tasks/#{step}", Models::TaskGuidRequest.new(task_guid: GUID), Models::TaskLifecycleResponse)
    list.call
  end
end

def tour(bbs)
  puts "available: #{bbs.call('/v1/ping', nil, Models::PingResponse).available}"

  bbs.call("/v1/domains/upsert", Models::UpsertDomainRequest.new(domain: DOMAIN, ttl: 60), Models::UpsertDomainResponse)
  domains = bbs.call("/v1/domains/list", nil, Models::DomainsResponse).domains
  puts "fresh: #{domains.to_a.join(' ')}"

  show_events(bbs, 3)

  # An index of 0 is a filter, none is not: it is a field of its own, which is set or not.
  one = Models::ActualLRPsRequest.new(process_guid: GUID, index: 0)
  bbs.call("/v1/actual_lrps/list", one, Models::ActualLRPsResponse).actual_lrps.each do |found|
    puts "#{found.actual_lrp_key.process_guid}/#{found.actual_lrp_key.index} is #{found.state}"
  end

  begin
    desire(bbs)
  rescue Refused => e
    puts "refused: #{e.type}: #{e.message}"
  end

  show_task(bbs)

  gone = Models::RemoveDesiredLRPRequest.new(process_guid: GUID)
  bbs.call("/v1/desired_lrp/remove", gone, Models::DesiredLRPLifecycleResponse)
end

begin
  tour BBSClient.new(
    ENV.fetch("BBS_URL"),
    ca_file: ENV["CA_CERT_FILE"],
    cert_file: ENV["CLIENT_CERT_FILE"],
    key_file: ENV["CLIENT_KEY_FILE"]
  )
rescue Refused, SystemCallError, SocketError, OpenSSL::OpenSSLError, Timeout::Error, RuntimeError => e
  abort "#{ENV['BBS_URL']}: #{e.message}"
end
# --8<-- [end:tour]
