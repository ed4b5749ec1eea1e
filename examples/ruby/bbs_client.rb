# A client of a BBS on stubs that protoc has made from bbs/models/pb: Net::HTTP, and what events and errors look like.

# --8<-- [start:client]
require "base64"
require "net/http"
require "openssl"
require "uri"

require "bbs/models/pb/actual_lrp_requests_pb"
require "bbs/models/pb/desired_lrp_requests_pb"
require "bbs/models/pb/domain_pb"
require "bbs/models/pb/events_pb"
require "bbs/models/pb/ping_pb"
require "bbs/models/pb/task_requests_pb"

# The BBS says no. `type` is a symbol such as :ResourceExists, or a number if the stubs do not know it.
class Refused < StandardError
  attr_reader :type

  def initialize(error)
    super(error.message)
    @type = error.type
  end
end

class BBSClient
  # With an https URL, `ca_file` is who has issued the server's certificate, and the other two are the client's own.
  def initialize(url, ca_file: nil, cert_file: nil, key_file: nil)
    @url = URI(url)
    @options = { use_ssl: @url.scheme == "https", open_timeout: 5, read_timeout: 30 }
    return unless @options[:use_ssl]

    @options[:ca_file] = ca_file
    @options[:cert] = OpenSSL::X509::Certificate.new(File.read(cert_file))
    @options[:key] = OpenSSL::PKey.read(File.read(key_file))
  end

  # Every call is a POST whose answer is 200, refusals included. Any other status comes without a message. Ping, and the lists of
  # domains and cells, have no request (nil).
  def call(path, request, response_class)
    answer = Net::HTTP.start(@url.host, @url.port, **@options) { |http| http.request(post(path, request)) }
    raise "#{path}: #{answer.code} #{answer.message}" unless answer.is_a?(Net::HTTPOK)

    response = response_class.decode(answer.body)
    # A ping's answer is the only one that has no place for an error.
    raise Refused, response.error if response.respond_to?(:error) && response.error

    response
  end

  # Yields name and message of each event, until the block breaks or the server ends the stream. `subscribed` is called as soon as
  # no event can be missed any more. A quiet stream is a healthy one, so reading has no timeout.
  def events(path, subscribed:)
    Net::HTTP.start(@url.host, @url.port, **@options, read_timeout: nil) do |http|
      http.request(post(path, Models::EventsByCellId.new)) do |answer|
        raise "#{path}: #{answer.code} #{answer.message}" unless answer.is_a?(Net::HTTPOK)

        subscribed.call
        rest = +""
        answer.read_body do |piece|
          rest << piece
          while (text = rest.slice!(/\A.*?\n\n/m))
            event = read_event(text)
            yield(*event) if event
          end
        end
      end
    end
  end

  private

  def post(path, request)
    message = Net::HTTP::Post.new(path, "Content-Type" => "application/x-protobuf")
    message.body = request ? request.class.encode(request) : ""
    message
  end

  # desired_lrp_created is a Models::DesiredLRPCreatedEvent, in base64. What these stubs do not know is left out.
  def read_event(text)
    fields = text.lines(chomp: true).to_h { |line| line.split(/: ?/, 2).values_at(0, 1) }
    class_name = fields["event"].split("_").map { |word| word == "lrp" ? "LRP" : word.capitalize }.join + "Event"
    return unless Models.const_defined?(class_name)

    [fields["event"], Models.const_get(class_name).decode(Base64.strict_decode64(fields["data"].to_s))]
  end
end
# --8<-- [end:client]
