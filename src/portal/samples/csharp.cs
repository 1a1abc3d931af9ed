// Calls the ERP through the gateway, with .NET 8. CLIENT_ID, PASSWORD and API_KEY are in the environment.
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

var http = new HttpClient { BaseAddress = new Uri("{{gateway}}"), Timeout = TimeSpan.FromSeconds(30) };
string Secret(string name) => Environment.GetEnvironmentVariable(name) ?? throw new InvalidOperationException(name);
var (kept, until) = ("", DateTimeOffset.MinValue);

// A token serves many requests: it is kept until shortly before it ends.
async Task<string> Token()
{
    if (DateTimeOffset.UtcNow < until) return kept;
    using var request = new HttpRequestMessage(HttpMethod.Post, "{{token_path}}");
    var pair = Encoding.UTF8.GetBytes($"{Secret("CLIENT_ID")}:{Secret("PASSWORD")}");
    request.Headers.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(pair));
    request.Headers.Add("x-api-key", Secret("API_KEY"));
    request.Content = new FormUrlEncodedContent(new Dictionary<string, string> { ["grant_type"] = "client_credentials" });
    using var answer = await http.SendAsync(request);
    using var body = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
    if (!answer.IsSuccessStatusCode)
        throw new HttpRequestException($"no token: {body.RootElement.GetProperty("code")}");
    kept = body.RootElement.GetProperty("access_token").GetString()!;
    until = DateTimeOffset.UtcNow.AddSeconds(body.RootElement.GetProperty("expires_in").GetInt32() - 30);
    return kept;
}

// One request. Only reading is tried again by itself: what writes may have been carried out.
async Task<string> Call(HttpMethod method, string path, string? json = null)
{
    for (var attempt = 0; ; attempt++)
    {
        using var request = new HttpRequestMessage(method, path);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", await Token());
        request.Headers.Add("x-api-key", Secret("API_KEY")); //@key
        if (json is not null) request.Content = new StringContent(json, Encoding.UTF8, "application/json");
        using var answer = await http.SendAsync(request);
        var text = await answer.Content.ReadAsStringAsync();
        if (answer.IsSuccessStatusCode) return text;
        var status = (int)answer.StatusCode;
        var again = status is 429 or 502 or 503 or 504 && (method == HttpMethod.Get || method == HttpMethod.Head);
        if (attempt == 3 || (status != 401 && !again))
            throw new HttpRequestException($"{status}: {text}", null, answer.StatusCode);
        if (status == 401) until = DateTimeOffset.MinValue; // it was revoked, or has ended
        else await Task.Delay(answer.Headers.RetryAfter?.Delta ?? TimeSpan.FromSeconds(Math.Pow(2, attempt)));
    }
}

Console.WriteLine(await Call(HttpMethod.Get, "{{path}}"));
